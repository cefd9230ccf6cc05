package faultproxy

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
)

// RejectItems rejects a random share, 0 to 1, of the documents of a _bulk, and
// answers 200 for the whole, as Elasticsearch does that takes the rest: what is
// rejected never reaches it.
type RejectItems struct {
	Share  float64
	Holds  string // a text in the documents that it is for; empty: all
	Status int
	Type   string // of the error
}

// operation is a line that says what to do, and the document of it.
type operation struct{ action, document []byte }

func (f RejectItems) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) int {
	all := operations(readBody(r))
	refusal := encode(map[string]any{"create": map[string]any{
		"status": f.Status, "error": map[string]string{"type": f.Type, "reason": "by the fault proxy"},
	}})
	var passed []byte
	items, rejected := make([]json.RawMessage, len(all)), 0
	for i, o := range all {
		if bytes.Contains(o.document, []byte(f.Holds)) && rand.Float64() < f.Share {
			items[i] = refusal
			rejected++
		} else {
			passed = append(append(passed, o.action...), o.document...)
		}
	}
	var taken struct {
		Errors bool              `json:"errors"`
		Items  []json.RawMessage `json:"items"`
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	if len(passed) > 0 {
		setBody(r, passed)
		got := record(r, forward)
		if got.Code != http.StatusOK {
			replay(w, got, got.Body.Len())
			return nothing // it was refused as a whole, by the service itself
		}
		must(json.Unmarshal(got.Body.Bytes(), &taken))
		maps.Copy(w.Header(), got.Header())
		w.Header().Del("Content-Length")
	}
	for i := range items {
		if items[i] == nil {
			items[i], taken.Items = taken.Items[0], taken.Items[1:]
		}
	}
	taken.Errors, taken.Items = taken.Errors || rejected > 0, items
	_, _ = w.Write(encode(taken))
	if rejected == 0 {
		return nothing
	}
	return rejected
}

// operations cuts the body of a _bulk in which every action has a document.
func operations(body []byte) (all []operation) {
	lines := bytes.NewBuffer(body)
	for {
		action, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return all
		}
		document, err := lines.ReadBytes('\n')
		must(err)
		all = append(all, operation{action, document})
	}
}

// Watch passes everything, and counts what stands in the answers: a fault that
// is in the service itself leaves its trace there.
type Watch struct {
	texts []string
	seen  *counts
}

// NewWatch counts these texts.
func NewWatch(texts ...string) Watch { return Watch{texts, &counts{of: map[string]int{}}} }

// Seen returns how often a text stood in an answer.
func (f Watch) Seen(text string) int { return f.seen.get(text) }

func (f Watch) serve(w http.ResponseWriter, r *http.Request, forward http.Handler) int {
	answer := record(r, forward)
	for _, text := range f.texts {
		f.seen.add(text, bytes.Count(answer.Body.Bytes(), []byte(text)))
	}
	replay(w, answer, answer.Body.Len())
	return nothing
}
