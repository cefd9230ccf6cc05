// Package find says where a record is: in the index, in the ledger, held by a
// ProcessBatch, on its way, in the backup.
//
// Each place is searched separately and answers for itself. What a place did not
// search is said in its answer, so that a record which is in none of them was
// really looked for in all of them.
package find

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"millrace/internal/backup"
	"millrace/internal/index"
	"millrace/internal/ledger"
	"millrace/internal/requestid"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// Question is what to look for: a record of a tenant, a trace of a tenant, a document,
// or the batches of a request, also beside one of the others.
type Question struct {
	Tenant string `json:"tenant,omitempty"`
	ID     string `json:"id,omitempty"`
	Trace  string `json:"trace,omitempty"`
	Doc    string `json:"doc,omitempty"`
	// Request is the id under which a collector answered the request that the record
	// came with.
	Request string `json:"request,omitempty"`
	// Around is about when the record was received, where neither index nor ledger
	// know it.
	Around time.Time `json:"around,omitzero"`
	// Most bounds what each place lists.
	Most int `json:"most"`
}

const (
	// DefaultMost is how many documents or entries a place lists.
	DefaultMost = 20
	// mostMost bounds that: an operator reads the answer.
	mostMost = 1000
	// longest is the longest id or trace id in characters: longer ones are accepted
	// by no collector, or not searched by the index (ignore_above in deploy/templates).
	longest = 1024
)

// Validate reports what no record can have, and names the flag.
func (q Question) Validate() error {
	var errs []error
	asked := 0
	for _, name := range []string{q.ID, q.Trace, q.Doc} {
		if name != "" {
			asked++
		}
	}
	if asked > 1 || asked == 0 && q.Request == "" {
		errs = append(errs, errors.New("give one of ID, --trace and --doc, or --request"))
	}
	if _, err := requestid.Parse(q.Request); q.Request != "" && err != nil {
		errs = append(errs, fmt.Errorf("--request: %w", err))
	}
	if q.Tenant == "" && (q.ID != "" || q.Trace != "") {
		errs = append(errs, errors.New("--tenant: an id is one of a tenant"))
	}
	for flag, text := range map[string]string{"ID": q.ID, "--trace": q.Trace} {
		if utf8.RuneCountInString(text) > longest {
			errs = append(errs, fmt.Errorf("%s: it has more than %d characters, as no record has", flag, longest))
		}
	}
	if _, err := telemetry.ParseDocID([]byte(q.Doc)); q.Doc != "" && err != nil {
		errs = append(errs, fmt.Errorf("--doc: %w", err))
	}
	if q.Most < 1 || q.Most > mostMost {
		errs = append(errs, fmt.Errorf("--most: %d is not from 1 to %d", q.Most, mostMost))
	}
	return errors.Join(errs...)
}

// States of a Search.
const (
	Found       = "found"
	Absent      = "absent"       // everything was searched
	Incomplete  = "incomplete"   // nothing is in what was searched; Gaps say what was not
	NotSearched = "not searched" // Gaps say why
	Failed      = "failed"       // Gaps say why
)

// Search is what one place answers. Its members are always there.
type Search[T any] struct {
	State string   `json:"state"`
	Found []T      `json:"found"`
	More  bool     `json:"more"` // there are others, beyond the limit
	Gaps  []string `json:"gaps"`
}

// searched makes the answer of a place that was searched.
func searched[T any](found []T, more bool, gaps []string) Search[T] {
	s := Search[T]{State: Absent, Found: append([]T{}, found...), More: more, Gaps: append([]string{}, gaps...)}
	switch {
	case len(found) > 0:
		s.State = Found
	case len(gaps) > 0:
		s.State = Incomplete
	}
	return s
}

// noName is why a place is not searched for a request alone.
const noName = "a request has many records: give --tenant and ID, or --doc, too"

func notSearched[T any](why string) Search[T] {
	return Search[T]{State: NotSearched, Found: []T{}, Gaps: []string{why}}
}

func failed[T any](err error) Search[T] {
	return Search[T]{State: Failed, Found: []T{}, Gaps: []string{err.Error()}}
}

// Answer says where it is.
type Answer struct {
	Question Question         `json:"question"`
	Found    bool             `json:"found"` // somewhere
	Index    Search[Document] `json:"index"`
	Ledger   Search[Letter]   `json:"ledger"`
	Ingest   Search[Ingest]   `json:"ingest"`
	Queue    Search[Queued]   `json:"queue"`
	Batches  Search[Batch]    `json:"batches"`
	Stream   Search[Position] `json:"stream"`
	Backup   Search[Copy]     `json:"backup"`
}

// states are those of the places that can have a record. Of its position in the stream
// the hash alone proves nothing.
func (a Answer) states() []string {
	states := []string{a.Index.State, a.Ledger.State, a.Ingest.State, a.Queue.State, a.Batches.State, a.Backup.State}
	if slices.ContainsFunc(a.Stream.Found, func(p Position) bool { return p.From != FromHash }) {
		states = append(states, a.Stream.State)
	}
	return states
}

// Failed reports whether it was found nowhere, and a place could not be asked.
func (a Answer) Failed() bool { return !a.Found && slices.Contains(a.states(), Failed) }

// Documents are those of Elasticsearch. See index.Client.
type Documents interface {
	Search(ctx context.Context, w index.Wanted, most int) (index.Matches, error)
	Documents(ctx context.Context, wanted []sink.Reference) ([]index.Document, error)
}

// Finder finds records. It is safe for concurrent use.
type Finder struct {
	Documents Documents // nil: there is no Elasticsearch
	Ledger    *ledger.Ledger
	Ingests   Ingests // nil: they are not asked
	Batches   Batches // nil: they are not asked
	// Name is that of the stream, and Stream finds it when it is needed.
	Name   string
	Stream func(ctx context.Context) (Stream, error)
	Backup backup.Objects // nil: it is not read
}

// Find looks into index and ledger, and by what they know into the rest.
func (f *Finder) Find(ctx context.Context, q Question) Answer {
	a := Answer{Question: q}
	var looking sync.WaitGroup
	looking.Go(func() { a.Index = f.inIndex(ctx, q) })
	looking.Go(func() { a.Ledger = f.inLedger(ctx, q) })
	var asked request
	looking.Go(func() { asked = f.ofRequest(ctx, q) })
	looking.Wait()
	a.Ingest, a.Queue = asked.answers(a)
	known, c := a, clueOf(q, a, asked)
	looking.Go(func() { a.Batches = f.inBatches(ctx, q, known) })
	looking.Go(func() { a.Backup = f.inBackup(ctx, q, c) })
	looking.Wait()
	a.Stream = f.positions(ctx, a, c.doc, asked.put)
	a.Found = slices.Contains(a.states(), Found)
	return a
}
