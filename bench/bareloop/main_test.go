package main

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/bench/data"
	"millrace/bench/replay"
	"millrace/bench/store"
	"millrace/internal/telemetry"
)

// TestBareLoopSendsEveryDocument, whether out of singles, of packs, or of the backup: or it would be no measure.
func TestBareLoopSendsEveryDocument(t *testing.T) {
	const count = 20_000
	records := data.Records(count, time.Now())
	want := map[string]string{}
	for _, r := range records {
		// {"doc_id":"…","index":"…","received_at": and so on
		_, rest, _ := strings.Cut(string(r), `"received_at"`)
		want[telemetry.DocIDOf(r).String()] = `{"received_at"` + rest
	}
	var mu sync.Mutex
	got := map[string]string{}
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		lines := bytes.Split(bytes.TrimSuffix(body, []byte{'\n'}), []byte{'\n'})
		mu.Lock()
		defer mu.Unlock()
		for i := 0; i+1 < len(lines); i += 2 {
			_, id, _ := strings.Cut(string(lines[i]), `"_id":"`)
			got[strings.TrimSuffix(id, `"}}`)] = string(lines[i+1])
		}
		_, _ = io.WriteString(w, `{"errors":false}`)
	}))
	t.Cleanup(sink.Close)
	objects := httptest.NewServer(store.New())
	t.Cleanup(objects.Close)
	*elasticsearch, *stream, *s3Address, *bucket, *inFlight, *objectBytes = sink.URL, "s", objects.URL, "b", 1, 1<<20
	of := func(perRecord int) {
		handler, err := replay.New(records, 1, perRecord)
		if err != nil {
			t.Fatal(err)
		}
		source := httptest.NewServer(handler)
		t.Cleanup(source.Close)
		*kinesis = source.URL
	}
	const shard = "shardId-000000000000"
	of(1)
	if err := backUp(shard); err != nil {
		t.Fatal(err)
	}
	for name, run := range map[string]func() error{
		"singles": func() error { of(1); return drain(shard) },
		"packs":   func() error { of(100); *limit = 50; return drain(shard) },
		"backup":  backfill,
	} {
		clear(got)
		*limit = 3000
		if err := run(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %d documents were sent, want %d, or they are not the same", name, len(got), len(want))
		}
	}
}
