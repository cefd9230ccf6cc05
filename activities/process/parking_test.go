package process

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"millrace/deploy/local/localtest"
	"millrace/internal/deadletter"
	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/telemetry"
)

// TestAnIndexAloneHoldsNoShard: what one index refuses, since it is closed or
// blocked for writes, is parked, the shard goes on, and it comes home when the
// index takes it.
func TestAnIndexAloneHoldsNoShard(t *testing.T) {
	t.Parallel()
	block := func(name string) [2][3]string {
		settings := func(value string) [3]string {
			return [3]string{http.MethodPut, "/_settings", `{"index.blocks.` + name + `":` + value + `}`}
		}
		return [2][3]string{settings("true"), settings("null")}
	}
	for server, find := range map[string]func(testing.TB) string{"Elasticsearch": localtest.Elasticsearch, "OpenSearch": localtest.OpenSearch} {
		for name, out := range map[string][2][3]string{
			"closed":    {{http.MethodPost, "/_close", ""}, {http.MethodPost, "/_open", ""}},
			"no writes": block("write"),
			"read-only": block("read_only"),
		} {
			t.Run(server+" "+name, func(t *testing.T) {
				t.Parallel()
				const records, every = 400, 4
				c := newCluster(t, find(t))
				c.must(http.MethodPut, "/"+c.name+"-a", `{"settings":{"number_of_replicas":0}}`)
				c.must(http.MethodPut, "/"+c.name+"-b", `{"settings":{"number_of_replicas":0}}`)
				c.must(out[0][0], "/"+c.name+"-a"+out[0][1], out[0][2])
				d := &drains{}
				w := c.world(records, every)
				p := c.processor(w, d)
				got := indexShard(t, p, IndexInput{For: time.Minute})
				if !got.Checkpoint.Closed || got.Counts.Parked != records/every || got.Counts.DeadLetters != records/every || got.Counts.Indexed != records-records/every {
					t.Fatalf("the result is %+v", got)
				}
				if len(d.indices) != 1 || d.indices[c.name+"-a"] == 0 {
					t.Errorf("DrainIndex was started for %v", d.indices)
				}
				parked := 0
				for key, err := range p.Ledger.List(t.Context(), ledger.Filter{}) {
					if err != nil {
						t.Fatal(err)
					}
					e, err := p.Ledger.Get(t.Context(), key)
					if of, ok := ledger.ParkedOf(key); err != nil || !ok || of != c.name+"-a" || e.Kind != ledger.Parked || e.Index != of {
						t.Fatalf("%s is of %s, for %q, error %v", key, e.Kind, e.Index, err)
					}
					parked += len(e.Records)
				}
				if parked != records/every {
					t.Errorf("%d records are parked", parked)
				}
				b, call := deadletter.NewOpen(p.Ledger, p.Stream), longcall.Begin(t.Context())
				defer call.Abandon()
				for n, r := range w.Records[:20] {
					if there, known := b.Has(call, "shard", r.Sequence); !known || there != (n%every == 0) {
						t.Errorf("record %d is in the open ledger: %t", n, there)
					}
				}
				if r := c.drain(p); !r.Out || r.Done || r.Counts.Indexed > 0 || r.LastError == "" {
					t.Fatalf("while the index is out of service a drain ends with %+v", r)
				}
				c.must(out[1][0], "/"+c.name+"-a"+out[1][1], out[1][2])
				if r := c.drain(p); r.Out || !r.Done || r.Counts.Indexed+r.Counts.Already != records/every || r.Counts.Resolved == 0 {
					t.Fatalf("when it takes writes the drain ends with %+v", r)
				}
				for key, err := range p.Ledger.List(t.Context(), ledger.Filter{}) {
					t.Errorf("%s is open still, error %v", key, err)
				}
				c.must(http.MethodPost, "/"+c.name+"-a,"+c.name+"-b/_refresh", "")
				if found := c.must(http.MethodGet, "/"+c.name+"-a,"+c.name+"-b/_count?filter_path=count", ""); found != fmt.Sprintf(`{"count":%d}`, records) {
					t.Errorf("documents: %s", found)
				}
			})
		}
	}
}

// TestMostRecordsRefusedIsTheCluster: the shard waits, and nothing is parked.
func TestMostRecordsRefusedIsTheCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, localtest.Elasticsearch(t))
	c.must(http.MethodPut, "/"+c.name+"-a", `{"settings":{"number_of_replicas":0,"index.blocks.write":true}}`)
	d := &drains{}
	p := c.processor(c.world(40, 1), d)
	p.Limits.WaitingAfter, p.Limits.DrainTimeout = 3*time.Second, time.Second
	if got := indexShard(t, p, IndexInput{For: time.Minute}); !got.Waiting || got.Counts.Records > 0 || len(d.indices) > 0 {
		t.Errorf("the result is %+v, DrainIndex was started for %v", got, d.indices)
	}
}

var errNoDrain = errors.New("cannot reach Temporal")

// failingDrains fails at first.
type failingDrains struct {
	drains
	failures int
}

func (d *failingDrains) StartDrain(ctx context.Context, stream telemetry.StreamID, index string) error {
	d.mu.Lock()
	d.failures++
	failures := d.failures
	d.mu.Unlock()
	if failures < 3 {
		return errNoDrain
	}
	return d.drains.StartDrain(ctx, stream, index)
}

// TestTheMarkWaitsForTheStartOfDrainIndex: without it parked records stay
// parked.
func TestTheMarkWaitsForTheStartOfDrainIndex(t *testing.T) {
	t.Parallel()
	c := newCluster(t, localtest.Elasticsearch(t))
	c.must(http.MethodPut, "/"+c.name+"-a", `{"settings":{"number_of_replicas":0,"index.blocks.write":true}}`)
	c.must(http.MethodPut, "/"+c.name+"-b", `{"settings":{"number_of_replicas":0}}`)
	d := &failingDrains{}
	got := indexShard(t, c.processor(c.world(200, 4), d), IndexInput{For: time.Minute})
	if !got.Checkpoint.Closed || got.Counts.Parked != 50 || d.indices[c.name+"-a"] == 0 || d.failures < 3 {
		t.Errorf("the result is %+v after %d starts", got, d.failures)
	}
}
