package deadletters

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/deadletter"
	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/test/kit/made"
)

// TestReprocessingTakesFromACopyWhatWasNotGivenUp: what the batch gave up before
// it was terminated is in an entry of its own, and comes home from there, once.
func TestReprocessingTakesFromACopyWhatWasNotGivenUp(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{ModeIngest, ModeDirect} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newPipeline(t)
				held := ledger.Entry{Kind: ledger.Bulk, At: deadletter.Now(), Range: made.Range(made.Sequence(0), made.Sequence(9), 10), Held: &ledger.Holder{By: "batch/1", Run: "r"}}
				for n := range 10 {
					r := ledger.NewRecord(made.Record(n), outcome.Error{Type: "odd"})
					r.Sequence = made.Sequence(n)
					held.Records = append(held.Records, r)
				}
				key, err := c.ledger.Add(t.Context(), held)
				if err != nil {
					t.Fatal(err)
				}
				given := c.giveUp(3, "odd", made.Record(3), made.Record(4))
				c.giveUp(40, "odd", made.Record(40)) // another one's
				got, err := c.run(ReprocessCall{Mode: mode, Run: "1"}, time.Hour)
				if err != nil || !got.Done || got.Counts.Records != 11 || got.Counts.Indexed != 11 || got.Counts.Resolved != 3 || len(c.entries()) > 0 {
					t.Errorf("%+v, %v; open are %v", got, err, c.entries())
				}
				for n := range 10 {
					if mode == ModeIngest && c.puts[fmt.Sprint(n)] != 1 || c.docs[made.DocOf(n)] != 1 {
						t.Errorf("record %d was ingested %d times and is there %d times", n, c.puts[fmt.Sprint(n)], c.docs[made.DocOf(n)])
					}
				}
				e, err := c.ledger.Get(t.Context(), key)
				if err != nil || e.Resolution == nil || e.Records[3].Ended != ledger.EndedReplacedPrefix+given {
					t.Errorf("the copy became %+v, %v", e, err)
				}
			})
		})
	}
}

// TestRecordsGivenUpAreNotTakenFromACopy: a holder that runs no more gave up every third
// record, and a sparse entry lists those. What lies between them was not given up.
func TestRecordsGivenUpAreNotTakenFromACopy(t *testing.T) {
	t.Parallel()
	c := newPipeline(t)
	const records = 30
	entry := func(step int) ledger.Entry {
		e := ledger.Entry{Kind: ledger.Bulk, At: deadletter.Now(), Range: made.Range(made.Sequence(0), made.Sequence(records-1), records/step), Sparse: step > 1}
		for n := 0; n < records; n += step {
			r := ledger.NewRecord(made.Record(n), outcome.Error{Type: "odd"})
			r.Sequence = made.Sequence(n)
			e.Records = append(e.Records, r)
		}
		return e
	}
	if _, err := c.ledger.Add(t.Context(), entry(3)); err != nil {
		t.Fatal(err)
	}
	held := &item{entry: entry(1)}
	held.entry.Held = &ledger.Holder{By: "batch", Run: "run"}
	for at := range held.entry.Records {
		held.at = append(held.at, at)
	}
	call := newReprocessing(c.reprocessor(), ReprocessCall{For: time.Minute}, longcall.Begin(t.Context()))
	if err := call.adoptHeld(held); err != nil {
		t.Fatal(err)
	}
	for _, at := range held.at {
		if at%3 == 0 {
			t.Errorf("record %d was given up and is taken from the copy", at)
		}
	}
	if len(held.at) != records*2/3 {
		t.Errorf("%d records are taken from the copy", len(held.at))
	}
}
