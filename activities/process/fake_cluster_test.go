package process

import (
	"context"
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
func (c *cluster) world(count, every int) *backends {
	w := calmBackends(0)
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
func (c *cluster) processor(w *backends, drains DrainStarter) *Processor {
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
