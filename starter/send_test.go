package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// collector answers posts with one status, and keeps the ids.
type collector struct {
	status int
	mu     sync.Mutex
	ids    map[string]int
	paths  map[string]int
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths[r.URL.Path]++
	var records []struct{ ID string }
	if r.Header.Get("Authorization") != "ApiKey secret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if json.Unmarshal(body, &records) == nil {
		for _, record := range records {
			c.ids[record.ID]++
		}
	}
	w.WriteHeader(c.status)
}

// got returns how often an id came, and how many came.
func (c *collector) got(id string) (times, ids int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ids[id], len(c.ids)
}

// posts returns the posts to a path.
func (c *collector) posts(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.paths[path]
}

func newCollector(t *testing.T, status int) (*collector, operator) {
	c := &collector{status: status, ids: map[string]int{}, paths: map[string]int{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	return c, newOperator(t, "MILLRACE_COLLECTOR_URL="+server.URL, "MILLRACE_KEY=secret")
}

func TestSendReportsOutcomes(t *testing.T) {
	t.Parallel()
	c, o := newCollector(t, http.StatusAccepted)
	o.must("send --records 95 --run trial", "accepted             95\n", "refused              0\n", "ids                  trial-0, -1, …")
	for _, id := range []string{"trial-0", "trial-94"} {
		if times, ids := c.got(id); times != 1 || ids != 95 {
			t.Errorf("the collector got %s %d times, and %d ids", id, times, ids)
		}
	}
	var first, second sent
	o.mustJSON(&first, "send --records 50 --duplicates 0.5 --json")
	o.mustJSON(&second, "send --records 10 --json")
	if first.Accepted != 50 || first.Duplicates == 0 || first.Run == second.Run || first.AckP99Millis == 0 {
		t.Errorf("as JSON: %+v and %+v", first, second)
	}
	if _, ids := c.got(""); ids != 155 {
		t.Errorf("the collector got %d ids", ids)
	}
	o.must("send --records 10 --protocol otlp", "accepted             10\n")
	if posts := c.posts("/v1/traces"); posts != 1 {
		t.Errorf("the collector got %d posts of spans", posts)
	}
	if progress := o.run("send", "--for", "1500ms", "--rate", "100"); !strings.Contains(progress.err, "  1 s: ") || progress.status != 0 {
		t.Errorf("there is no progress: %+v", progress)
	}
}

func TestSendFailsWhenRecordsAreRefused(t *testing.T) {
	t.Parallel()
	_, o := newCollector(t, http.StatusBadRequest)
	o.fails("send --records 10", "refused              10\n", "10 records were refused")
	o.fails("send --records 10 --key other", "the collector answered 401")
	_, o = newCollector(t, http.StatusServiceUnavailable)
	o.fails("send --records 10 --give-up-after 100ms", "given up             10\n", "10 records were not accepted in time: look at /readyz")
}
