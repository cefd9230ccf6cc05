package process

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/deadletter"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/test/kit/bucket"
)

// TestEachRecordHeldIsCopiedOnce, however often a run is killed and begun anew,
// and whatever of it has ended by then.
func TestEachRecordHeldIsCopiedOnce(t *testing.T) {
	t.Parallel()
	h := newHolding(t, 100)
	h.shelf.SetFickle(true)
	h.copy("first", 5, h.piece(5, 5), h.piece(9, 11), h.piece(12, 12))
	h.expect(5, 9, 10, 11, 12)
	if entries := len(slices.Collect(keysOf(h.shelf, "ledger/open/"))); entries != 2 {
		t.Errorf("%d entries for two runs of neighbours", entries)
	}
	h.copy("first", 0, h.piece(5, 5), h.piece(9, 11), h.piece(12, 12)) // its end was not known
	h.copy("second", 0, h.piece(10, 10))
	h.expect(5, 9, 10, 11, 12)
	h.copy("third", 3, h.piece(4, 6), h.piece(12, 13))
	h.expect(4, 5, 6, 9, 10, 11, 12, 13)

	other, err := h.p.Ledger.Add(t.Context(), heldBy("batch/other", h.p, h.Records[50:52]))
	for err != nil {
		other, err = h.p.Ledger.Add(t.Context(), heldBy("batch/other", h.p, h.Records[50:52]))
	}
	h.release()
	h.release()
	h.expect(50, 51)
	h.shelf.SetFickle(false)
	for _, r := range []int{4, 9} {
		recalled, err := h.p.Ledger.Recall(t.Context(), h.piece(r, r).Range)
		if err != nil || len(recalled) != 1 {
			t.Errorf("of record %d, which was released, there is %v: %v", r, recalled, err)
		}
	}
	for key := range keysOf(h.shelf, "ledger/done/") {
		if e, err := h.p.Ledger.Get(t.Context(), key); err != nil || e.Resolution.How != ledger.HowReleased {
			t.Errorf("%s ended with %+v, %v", key, e.Resolution, err)
		}
	}
	if e, err := h.p.Ledger.Get(t.Context(), other); err != nil || e.Resolution != nil {
		t.Errorf("what another one holds is %+v, %v", e.Resolution, err)
	}
	// A later run of the same batch copies anew: what became of the index since
	// is not known.
	h.copy("fourth", 1, h.piece(9, 9))
	h.expect(9, 50, 51)
}

func heldBy(by string, p *Processor, records []stream.Record) ledger.Entry {
	run := deadletter.Group{Range: rangeOf(p.Stream, "shard", records), Records: records, Causes: make([]outcome.Error, len(records))}
	for n := range run.Causes {
		run.Causes[n] = outcome.Error{Type: "odd"}
	}
	e := run.Entry()
	e.At, e.Held = deadletter.Now(), &ledger.Holder{By: by, Run: "r"}
	return e
}

func keysOf(s *bucket.Memory, prefix string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		defer s.SetFickle(s.SetFickle(false))
		for key, err := range s.Keys(context.Background(), prefix) {
			if err != nil {
				panic(err)
			}
			if !yield(key) {
				return
			}
		}
	}
}

// TestWhatIsTrimmedIsIndexedFromTheCopy: the batch goes on as if the stream had
// it, and reports no loss. What was not copied is reported.
func TestWhatIsTrimmedIsIndexedFromTheCopy(t *testing.T) {
	t.Parallel()
	h := newHolding(t, 20)
	h.copy("run", 7, h.piece(3, 9))
	all := h.Records
	h.Records = all[7:] // the front is trimmed
	whole := rangeOf(h.p.Stream, "shard", all[3:13])
	result := indexRange(t, h.p, whole, false)
	if result.Counts.Indexed != 10 || result.Counts.Losses > 0 || len(result.Left) > 0 || h.indexed() != 10 {
		t.Errorf("of a range with a copy: %+v, %d are indexed", result, h.indexed())
	}
	h.Records = nil
	result = indexRange(t, h.p, rangeOf(h.p.Stream, "shard", all[1:13]), false)
	if result.Counts.Earlier() != 7 || result.Counts.Losses != 1 || result.Counts.DeadLetters != 12-7 {
		t.Errorf("of one of which a part was copied: %+v", result)
	}
}

// TestCopiesAreDueAtHalfOfTheRetention, unless a setting says otherwise.
func TestCopiesAreDueAtHalfOfTheRetention(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	for name, c := range map[string]struct{ retention, setting, want time.Duration }{
		"a day":      {24 * time.Hour, 0, 12 * time.Hour},
		"a week":     {168 * time.Hour, 0, 84 * time.Hour},
		"not known":  {0, 0, DefaultCopyAfter},
		"as it says": {24 * time.Hour, time.Minute, time.Minute},
	} {
		w := calmBackends(1)
		w.retention = c.retention
		p := w.processor()
		p.Limits.CopyAfter = c.setting
		work := p.begin(t.Context(), "shard")
		if got := work.batches.copyAt(stream.Record{Arrived: at}).Sub(at); got != c.want {
			t.Errorf("%s: after %v, want %v", name, got, c.want)
		}
		work.call.Abandon()
	}
	if err := (Limits{CopyAfter: -1}).Validate(); err == nil || !strings.Contains(err.Error(), "--copy-after") {
		t.Errorf("a negative age gives %v", err)
	}
}
