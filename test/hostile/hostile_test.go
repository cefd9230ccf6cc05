package hostile

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

// What grows must be small on its way and what a decoder takes, or it is no
// attack.
func TestAmplifiedBodiesAreSmallAndValid(t *testing.T) {
	t.Parallel()
	huge := spansSharing(hugeResource, "x")
	body, err := huge.MarshalProto()
	if err != nil {
		t.Fatal(err)
	}
	const largestBody = 10 << 20
	for name, c := range map[string]struct {
		body  []byte
		count func([]byte) (int, error)
		want  int
	}{
		"spans": {body, func(body []byte) (int, error) {
			r := ptraceotlp.NewExportRequest()
			err := r.UnmarshalProto(body)
			return r.Traces().SpanCount(), err
		}, sharing},
		"logs": {emptyLogs(), func(body []byte) (int, error) {
			r := plogotlp.NewExportRequest()
			err := r.UnmarshalProto(body)
			return r.Logs().LogRecordCount(), err
		}, emptyRecords},
		"composite": {composite(), func(body []byte) (int, error) {
			var c struct {
				Data struct{ AllMonitoringData []any }
			}
			err := json.Unmarshal(body, &c)
			return len(c.Data.AllMonitoringData), err
		}, sharing},
	} {
		packed := packed(c.body)
		unpacked, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		whole, err := io.ReadAll(unpacked)
		if err != nil {
			t.Fatal(err)
		}
		n, err := c.count(whole)
		if err != nil || n != c.want || len(packed) > 64<<10 || len(whole) > largestBody {
			t.Errorf("%s: %d records, want %d, of %d bytes in %d: %v", name, n, c.want, len(whole), len(packed), err)
		}
	}
}

// What is posted as JSON is JSON.
func TestHostileRecordsAreJSON(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var records []map[string]any
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var some []map[string]any
		if err := json.NewDecoder(r.Body).Decode(&some); err != nil || r.Header.Get("Authorization") != "ApiKey key" {
			t.Errorf("posted with %v: %v", r.Header, err)
		}
		mu.Lock()
		records = append(records, some...)
		mu.Unlock()
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(collector.Close)
	for name, c := range map[string]struct {
		attack func(context.Context, *Attacker) error
		least  int
		is     func(map[string]any) bool
	}{
		"historian": {ScatterDates, perPost, func(r map[string]any) bool { return r["timestamp"] != nil }},
		"impostor":  {Pretend, perPost, func(r map[string]any) bool { return r["Tenant"] == "victim" && r["duration"] != nil }},
		"flooder":   {Flood, floodPosts * floodRecords, func(r map[string]any) bool { return r["type"] == "log" }},
	} {
		records = nil
		a := New(collector.URL, "", "key", "victim")
		ctx, enough := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.attack(ctx, a) }()
		for {
			mu.Lock()
			got := len(records)
			mu.Unlock()
			if got >= c.least {
				break
			}
			<-time.After(time.Millisecond)
		}
		enough()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, r := range records[:perPost] {
			if !c.is(r) {
				t.Fatalf("%s posts %v", name, r)
			}
		}
		a.client.CloseIdleConnections()
	}
}
