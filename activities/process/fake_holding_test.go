package process

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
	"millrace/test/kit/bucket"
	"millrace/test/kit/made"
)

// holding is what a ProcessBatch is around: a stream that forgets its front, and
// a ledger that fails now and then.
type holding struct {
	*testing.T
	*backends
	shelf *bucket.Memory
	p     *Processor
	env   *testsuite.TestActivityEnvironment
	whole telemetry.Range
}

func newHolding(t *testing.T, records int) *holding {
	w := calmBackends(records)
	h := &holding{T: t, backends: w, shelf: bucket.New(), p: w.processor(), env: new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()}
	h.p.Ledger = ledger.New(h.shelf, "s")
	h.whole = rangeOf(h.p.Stream, "shard", w.Records)
	h.env.SetTestTimeout(5 * time.Minute)
	h.env.RegisterActivity(h.p.CopyHeld)
	h.env.RegisterActivity(h.p.ReleaseHeld)
	return h
}

// piece is that from one record to another.
func (h *holding) piece(first, last int) LeftRange {
	return LeftRange{Range: rangeOf(h.p.Stream, "shard", h.Records[first:last+1]), Cause: outcome.Error{Type: "odd", Reason: fmt.Sprint(first)}}
}

// copy copies what is held, of which so many records are in no copy yet.
func (h *holding) copy(run string, want int, pieces ...LeftRange) {
	h.Helper()
	var result HeldResult
	encoded, err := h.env.ExecuteActivity(h.p.CopyHeld, HeldInput{Stream: h.p.Stream, Range: h.whole, Pieces: pieces, Run: run})
	if err == nil {
		err = encoded.Get(&result)
	}
	if err != nil || result.Records != want {
		h.Fatalf("%d records were copied, want %d: %v", result.Records, want, err)
	}
}

func (h *holding) release() {
	h.Helper()
	if _, err := h.env.ExecuteActivity(h.p.ReleaseHeld, HeldInput{Stream: h.p.Stream, Range: h.whole, Run: "any"}); err != nil {
		h.Fatal(err)
	}
}

// copies counts, by sequence number, the open copies that have a record.
func (h *holding) copies() map[string]int {
	h.Helper()
	defer h.shelf.SetFickle(h.shelf.SetFickle(false))
	found := map[string]int{}
	for key, err := range h.p.Ledger.List(context.Background(), ledger.Filter{}) {
		if err != nil {
			h.Fatal(err)
		}
		e, err := h.p.Ledger.Get(context.Background(), key)
		if err != nil || e.Held == nil || e.Range.Count != len(e.Records) || e.Range.First != e.Records[0].Sequence || e.Range.Last != e.Records[len(e.Records)-1].Sequence {
			h.Fatalf("%s has %+v, %v", key, e, err)
		}
		for _, r := range e.Records {
			if len(r.Data) == 0 || r.Arrived.IsZero() || r.Error.Type != "odd" {
				h.Errorf("%s has of %s %+v", key, r.Sequence, r)
			}
			found[r.Sequence]++
		}
	}
	return found
}

// expect fails unless exactly these records are in one open copy each.
func (h *holding) expect(records ...int) {
	h.Helper()
	got := h.copies()
	for _, n := range records {
		if got[made.Sequence(n)] != 1 {
			h.Errorf("record %d is in %d copies", n, got[made.Sequence(n)])
		}
	}
	if len(got) != len(records) {
		h.Errorf("%d records are copied, want %d", len(got), len(records))
	}
}
