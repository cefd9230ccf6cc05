package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestReadRestartsWhenIndicesChange: no document is read twice for it,
// and what never succeeds is no success.
func TestReadRestartsWhenIndicesChange(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		failing int // reads, each on its second page
		status  int // of what fails
		want    int
	}{"goes": {1, http.StatusOK, 3}, "comes": {1, http.StatusServiceUnavailable, 3}, "always goes": {1000, http.StatusOK, 0},
		"never comes": {1000, http.StatusServiceUnavailable, 0}} {
		searches, pages := 0, 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/_search"):
				searches, pages = searches+1, 0
			case r.URL.Path != "/_search/scroll" || r.Method != http.MethodPost:
				fmt.Fprint(w, `{}`)
				return
			}
			pages++
			failed, hits := 0, fmt.Sprintf(`{"_index":"i","_source":{"n":%d}}`, pages)
			if pages == 2 && searches <= c.failing {
				failed = 1
				w.WriteHeader(c.status)
			}
			if pages > 3 {
				hits = ""
			}
			fmt.Fprintf(w, `{"_scroll_id":"s","_shards":{"failed":%d},"hits":{"hits":[%s]}}`, failed, hits)
		}))
		seen := map[string]int{}
		err := Stores{Elasticsearch: server.URL}.documents(t.Context(), func(_ string, source json.RawMessage) error {
			seen[string(source)]++
			return nil
		})
		server.Close()
		if failed := errors.Is(err, errPartial); failed != (c.want == 0) || len(seen) != c.want {
			t.Errorf("%s: %v, and %v are read", name, err, seen)
		}
		for document, times := range seen {
			if times != 1 {
				t.Errorf("%s is read %d times", document, times)
			}
		}
	}
}
