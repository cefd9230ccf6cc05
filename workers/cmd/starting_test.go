package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"millrace/deploy/local/localtest"
	"millrace/internal/config"
	"millrace/internal/index"
	"millrace/internal/ops"
	"millrace/internal/pack"
	"millrace/internal/queue"
	"millrace/test/kit/poll"
	"millrace/test/outage"
	"millrace/workers"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// A worker that starts while the stream is away takes the batches of collectors
// into the queue, and does all of its work when the stream is back.
func TestAWorkerStartsWithoutTheStream(t *testing.T) {
	c := outage.New(t)
	c.Close(workers.Kinesis)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_ = listener.Close()
	cluster, err := index.Open(index.Settings{URLs: []string{localtest.Elasticsearch(t)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Setup(t.Context(), index.Layout{Shards: 1}); err != nil { // else it lacks the templates, too
		t.Fatal(err)
	}
	s, err := parse(append(c.Args(), "--listen="+address, "--elasticsearch-url="+localtest.Elasticsearch(t), "--dedup-ids=1000")...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	defer func() {
		end()
		if err := <-ended; err != nil {
			t.Errorf("the worker ends with %v", err)
		}
	}()
	until := func(what string, condition func() bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := poll.Until(ctx, func() (bool, error) { return condition(), nil }); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	client := localtest.Client(t)
	ready := func() (r ops.Readiness) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/readyz", nil)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := client.Do(request); err == nil { // else it does not listen yet
			defer response.Body.Close()
			_ = json.NewDecoder(response.Body).Decode(&r)
		}
		return r
	}

	until("it says what it lacks", func() bool {
		r := ready()
		return !r.Ready && r.Missing[workers.Kinesis] != "" && strings.Contains(r.Missing[workers.Starting], "the stream")
	})
	temporal, err := config.DialLazily(slog.New(slog.DiscardHandler), config.Versioning{})
	if err != nil {
		t.Fatal(err)
	}
	defer temporal.Close()
	record := []byte(`{"doc_id":"early"}`)
	if err := (launch.Launcher{Client: temporal}).StartIngest(t.Context(), workflows.IngestID("early"), pack.Pack([][]byte{record})); err != nil {
		t.Fatal(err)
	}
	fallback := queue.NewFallback(c.Queues, c.Names.Queue, nil)
	until("the batch is in the queue", func() bool {
		got, err := fallback.Receive(t.Context(), 10, 0, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		return len(got) == 1 && len(got[0].Records) == 1 && string(got[0].Records[0]) == string(record)
	})

	c.Open(workers.Kinesis)
	until("it lacks nothing", func() bool { r := ready(); return r.Ready && len(r.Missing)+len(r.Degraded) == 0 })
}
