package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
)

// poll is how often the stores are asked: many pipelines do at the same time, and each question costs all of them.
const poll = time.Second

// await polls until a condition returns nil, for as long as the error that it
// returns instead changes: it says how far things are.
func (s *system) await(condition func() error) {
	s.t.Helper()
	last, moved := "", time.Now()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		if said := err.Error(); said != last {
			last, moved = said, time.Now()
		}
		if time.Since(moved) > patience {
			s.t.Fatalf("nothing has moved for %v: %v", patience, err)
		}
		<-tick.C
	}
}

// awaitDocuments waits until the tenant has so many documents, and returns
// them.
func (s *system) awaitDocuments(n int) []document {
	s.t.Helper()
	s.await(func() error {
		indexed, err := s.stores.Indexed(s.t.Context())
		if err == nil && indexed < uint64(n) {
			err = fmt.Errorf("%d documents, want %d", indexed, n)
		}
		return err
	})
	found := s.search(fmt.Sprintf(`{"size":10000,"query":{"term":{"tenant":%q}}}`, s.tenant))
	if len(found) != n {
		s.t.Errorf("%d documents, want %d", len(found), n)
	}
	return found
}

// document is one of Elasticsearch's.
type document struct {
	ID     string         `json:"_id"`
	Index  string         `json:"_index"`
	Source map[string]any `json:"_source"`
}

// get returns a member, whose name may be a path.
func (d document) get(path string) any {
	var value any = d.Source
	for name := range strings.SplitSeq(path, "/") {
		object, _ := value.(map[string]any)
		value = object[name]
	}
	return value
}

// number returns a member that is one, else NaN.
func (d document) number(path string) float64 {
	if n, ok := d.get(path).(float64); ok {
		return n
	}
	return math.NaN()
}

func (s *system) search(query string) []document {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.stores.Elasticsearch+"/telemetry-*/_search", strings.NewReader(query))
	s.must(err)
	request.Header.Set("Content-Type", "application/json")
	var answer struct{ Hits struct{ Hits []document } }
	s.must(json.Unmarshal(s.do(request, http.StatusOK), &answer))
	return answer.Hits.Hits
}
