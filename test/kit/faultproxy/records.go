package faultproxy

import (
	"encoding/json"
	"net/http"
	"sync"
)

// RefuseCalls refuses a whole PutRecords that holds a certain record, as
// Kinesis does for an entry that it cannot read.
type RefuseCalls struct {
	With func(data []byte) bool
	Code string // of the error
}

func (f RefuseCalls) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) int {
	body := readBody(r)
	_, entries := put(body)
	found := 0
	for _, entry := range entries {
		if f.With(dataOf(entry)) {
			found++
		}
	}
	setBody(r, body)
	if found == 0 {
		forward.ServeHTTP(w, r)
		return nothing
	}
	AWSError(http.StatusBadRequest, f.Code).serve(w, r, nil)
	return found
}

// Rewrite changes the records of PutRecords on their way: what a sender with a
// wrong clock would have sent.
type Rewrite struct{ Record func(data []byte) []byte }

func (f Rewrite) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) int {
	call, entries := put(readBody(r))
	for _, entry := range entries {
		entry["Data"] = encode(f.Record(dataOf(entry)))
	}
	call["Records"] = encode(entries)
	setBody(r, encode(call))
	forward.ServeHTTP(w, r)
	return len(entries)
}

// put takes a PutRecords apart.
func put(body []byte) (call map[string]json.RawMessage, entries []map[string]json.RawMessage) {
	must(json.Unmarshal(body, &call))
	must(json.Unmarshal(call["Records"], &entries))
	return call, entries
}

func dataOf(entry map[string]json.RawMessage) (data []byte) {
	must(json.Unmarshal(entry["Data"], &data))
	return data
}

// counts is safe for concurrent use.
type counts struct {
	mu sync.Mutex
	of map[string]int
}

func (c *counts) add(what string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.of[what] += n
}

func (c *counts) get(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of[what]
}
