package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"millrace/activities/deadletters"
	"millrace/deploy/local/localtest"
	"millrace/internal/deadletter"
	"millrace/internal/index"
	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// cluster is a real server, on which a test has indices of its own.
type cluster struct {
	*testing.T
	url  string
	http *http.Client
	name string // begins those of the indices
}

func newCluster(t *testing.T, url string) *cluster {
	t.Helper()
	c := &cluster{T: t, url: url, http: localtest.Client(t), name: telemetry.IndexPrefix + localtest.Name(t, "p")}
	t.Cleanup(func() {
		_, _ = c.ask(context.WithoutCancel(t.Context()), http.MethodDelete, "/"+c.name+"-a,"+c.name+"-b", "")
	})
	return c
}

func (c *cluster) ask(ctx context.Context, method, path, body string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if response.StatusCode >= http.StatusMultipleChoices {
		return "", fmt.Errorf("%s %s answered %s: %s", method, path, response.Status, text)
	}
	return string(text), err
}

func (c *cluster) must(method, path, body string) string {
	c.Helper()
	text, err := c.ask(c.Context(), method, path, body)
	if err != nil {
		c.Fatal(err)
	}
	return text
}

// world has records for two indices: every n-th for the first.
func (c *cluster) world(count, every int) *world {
	w := calmWorld(0)
	for n := range count {
		name := c.name + "-b"
		if n%every == 0 {
			name = c.name + "-a"
		}
		data := telemetry.AppendRecord(nil, telemetry.Head{
			Index: name, ReceivedAt: made.Arrival, Tenant: "acme", ID: fmt.Sprint(n), Type: "span", Timestamp: made.Arrival,
		}, []byte(`{"name":"x"}`))
		w.Records = append(w.Records, stream.Record{Sequence: made.Sequence(n), Arrived: made.Arrival, Data: data})
	}
	return w
}

// processor indexes for real, and parks after half a second.
func (c *cluster) processor(w *world, drains DrainStarter) *Processor {
	c.Helper()
	flavor := index.Settings{URLs: []string{c.url}, Timeout: 30 * time.Second}
	if strings.Contains(c.must(http.MethodGet, "/_nodes/_local?filter_path=nodes.*.version", ""), `"2.`) {
		flavor.Flavor = index.OpenSearch
	}
	client, err := index.Open(flavor)
	if err != nil {
		c.Fatal(err)
	}
	p := w.processor()
	p.Indexer.Bulk, p.Drains, p.Limits.ParkAfter = client, drains, time.Second/2
	p.DeadLetters = deadletter.NewWriter(p.Ledger, letterBox{})
	return p
}

// drains notes for which indices DrainIndex was started.
type drains struct {
	mu      sync.Mutex
	indices map[string]int
}

func (d *drains) StartDrain(_ context.Context, _ telemetry.StreamID, index string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.indices == nil {
		d.indices = map[string]int{}
	}
	d.indices[index]++
	return nil
}

func (c *cluster) drain(p *Processor) deadletters.DrainResult {
	c.Helper()
	r := &deadletters.Reprocessor{
		Stream: p.Stream, Ledger: p.Ledger, Documents: p.Indexer.Bulk.(*index.Client), Indexer: p.Indexer, BulkRecords: p.Limits.BulkRecords, Worker: "test",
	}
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	env.RegisterActivity(r.DrainParked)
	encoded, err := env.ExecuteActivity(r.DrainParked, deadletters.DrainCall{Stream: p.Stream.Name, Index: c.name + "-a", Run: "run", For: time.Minute})
	var result deadletters.DrainResult
	if err == nil {
		err = encoded.Get(&result)
	}
	if err != nil {
		c.Fatal(err)
	}
	return result
}

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
