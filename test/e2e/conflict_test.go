package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"millrace/internal/telemetry"
)

// conflict gives this test's records an index in which a field is a number, so
// that those are refused in which it is none. mend makes it anew without.
type conflict struct {
	*system
	index string
}

// conflicts counts the conflicts of this run.
var conflicts atomic.Int64

// newConflict takes a day that no other test has.
func newConflict(s *system) conflict {
	day := time.Now().AddDate(0, 0, -int(10+conflicts.Add(1)))
	c := conflict{s, telemetry.IndexName("event", day)}
	c.put(`{"settings":{"number_of_replicas":0},"mappings":{"properties":{"amount":{"type":"long"}}}}`)
	s.t.Cleanup(c.remove)
	return c
}

// day is the timestamp of the index's records.
func (c conflict) day() string {
	return strings.ReplaceAll(strings.TrimPrefix(c.index, "telemetry-event-"), ".", "-") + "T12:00:00Z"
}

func (c conflict) ask(method, path, body string) {
	c.t.Helper()
	request, err := http.NewRequest(method, c.stores.Elasticsearch+path, strings.NewReader(body))
	c.must(err)
	request.Header.Set("Content-Type", "application/json")
	c.do(request, http.StatusOK)
}

func (c conflict) put(body string) { c.ask(http.MethodPut, "/"+c.index, body) }
func (c conflict) remove()         { c.ask(http.MethodDelete, "/"+c.index, "") }

// events posts records, every third of which has an amount that is no number.
func (c conflict) events(from, count int) (bad int) {
	c.t.Helper()
	var body bytes.Buffer
	for n := from; n < from+count; n++ {
		amount := fmt.Sprint(n)
		if n%3 == 0 {
			amount, bad = `"a lot"`, bad+1
		}
		fmt.Fprintf(&body, `{"id":"event-%d","type":"event","timestamp":%q,"amount":%s}`+"\n", n, c.day(), amount)
	}
	c.post("/v1/telemetry", "application/x-ndjson", body.Bytes(), http.StatusAccepted)
	return bad
}

// mend makes the index anew, with the documents it has, and without the field
// that was in the way.
func (c conflict) mend() {
	c.t.Helper()
	kept := c.search(fmt.Sprintf(`{"size":10000,"query":{"term":{"tenant":%q}}}`, c.tenant))
	c.remove()
	c.put(`{"settings":{"number_of_replicas":0},"mappings":{"properties":{"amount":{"type":"keyword"}}}}`)
	for _, d := range kept {
		source, err := json.Marshal(d.Source)
		c.must(err)
		c.ask(http.MethodPost, "/"+d.Index+"/_bulk?refresh=true", fmt.Sprintf(`{"create":{"_id":%q}}`+"\n%s\n", d.ID, source))
	}
}
