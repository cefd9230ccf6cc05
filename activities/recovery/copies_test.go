package recovery

import (
	"bytes"
	"context"
	"testing"
	"time"

	"millrace/internal/backup"
	"millrace/internal/deadletter"
	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/test/kit/bucket"
	"millrace/test/kit/made"
)

// TestARecoveryKnowsCopies: what is refused again is not entered twice while a
// batch holds it, and what a batch has indexed from its copy comes back.
func TestARecoveryKnowsCopies(t *testing.T) {
	t.Parallel()
	objects := bucket.New()
	l := ledger.New(objects, "telemetry")
	given := ledger.Entry{Kind: ledger.Bulk, At: deadletter.Now(), Range: made.Range(made.Sequence(1), made.Sequence(1), 1)}
	given.Records = []ledger.Record{ledger.NewRecord(made.Record(1), outcome.Error{Type: "odd"})}
	given.Records[0].Sequence = made.Sequence(1)
	if _, err := l.Add(t.Context(), given); err != nil {
		t.Fatal(err)
	}
	held := ledger.Entry{Kind: ledger.Bulk, At: deadletter.Now(), Range: made.Range(made.Sequence(2), made.Sequence(4), 3), Held: &ledger.Holder{By: "batch/1", Run: "r"}}
	for n := 2; n <= 4; n++ {
		held.Records = append(held.Records, ledger.NewRecord(made.Record(n), outcome.Error{Type: "odd"}))
	}
	key, err := l.Add(t.Context(), held)
	if err != nil {
		t.Fatal(err)
	}
	open, shard := deadletter.NewOpen(l, made.Stream), held.Range.Shard
	call := longcall.Begin(t.Context())
	defer call.Abandon()
	reads := 0
	for range 2 {
		for n, want := range []string{"", "given", "held", "held", "held", ""} {
			given, _ := open.Has(call, shard, made.Sequence(n))
			holds, known := open.HasOrHolds(call, shard, made.Sequence(n))
			if given != (want == "given") || holds != (want != "") || !known {
				t.Errorf("record %d is given %t, and there %t, want %q", n, given, holds, want)
			}
		}
		if reads == 0 {
			reads = objects.Reads()
		}
	}
	if again := objects.Reads(); again != reads {
		t.Errorf("the ledger was read %d times more for what is known", again-reads)
	}
	stopped := longcall.Begin(t.Context())
	stopped.Abandon()
	objects.Break()
	if _, known := open.HasOrHolds(stopped, "other", "1"); known {
		t.Error("a call that was stopped knows")
	}
	objects.Mend()
	began := time.Now()
	if e, err := l.Get(t.Context(), key); err != nil || wantsEntry(e, began, began) {
		t.Error("held records are taken for indexed")
	}
	if err := l.Resolve(t.Context(), key, ledger.Resolution{How: ledger.HowReleased, At: began.Add(time.Second)}); err != nil {
		t.Fatal(err)
	}
	if e, err := l.Get(t.Context(), key); err != nil || !wantsEntry(e, began, began) || wantsEntry(e, began, began.Add(time.Minute)) {
		t.Errorf("what was released in the window is not wanted, or later, %v", err)
	}
}

// TestARecordIndexedFromItsEntryIsNoDeadLetter, whatever the entry is open for:
// neighbors, scattered records or parked ones. Mode ingest puts it, and verify
// brings it back.
func TestARecordIndexedFromItsEntryIsNoDeadLetter(t *testing.T) {
	t.Parallel()
	const records = 6
	for name, shape := range map[string]func(e *ledger.Entry){
		"neighbours": func(*ledger.Entry) {},
		"scattered":  func(e *ledger.Entry) { e.Sparse = true },
		"parked":     func(e *ledger.Entry) { e.Kind, e.Sparse, e.Index = ledger.Parked, true, "telemetry-span-2026.11.23" },
		"resolved, and listed as open still": func(e *ledger.Entry) {
			e.Records = e.Records[:2]
			e.Resolution = &ledger.Resolution{How: ledger.HowIndexed}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := ledger.New(bucket.New(), "telemetry")
			e := ledger.Entry{Kind: ledger.Bulk, At: deadletter.Now(), Range: made.Range(made.Sequence(0), made.Sequence(records-1), records)}
			for n := range records {
				r := ledger.NewRecord(made.Record(n), outcome.Error{Type: "odd"})
				r.Sequence, r.Ended = made.Sequence(n), []string{"", ledger.EndedIndexed, ledger.EndedIndexedBefore, ledger.EndedReplacedPrefix + "ledger/open/x"}[n%4]
				e.Records = append(e.Records, r)
			}
			shape(&e)
			if _, err := l.Add(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			var want []int // indexed from there
			for n, r := range e.Records {
				if e.Resolution != nil || r.Ended == ledger.EndedIndexed || r.Ended == ledger.EndedIndexedBefore {
					want = append(want, n)
				}
			}
			documents := &taken{}
			s := &Sweeper{Stream: made.Stream, Ledger: l, Replayer: documents, Documents: documents, Limiter: limiter.New(1, 0)}
			chunkOf := func() *sweepChunk {
				c := &sweepChunk{}
				for n, r := range e.Records {
					c.Records = append(c.Records, stream.Record{Sequence: made.Sequence(n), Data: r.Data})
					c.lines = append(c.lines, backup.Line{Shard: e.Range.Shard, Record: backup.Record{Sequence: made.Sequence(n), Data: r.Data}})
				}
				return c
			}
			for _, stage := range []string{SweepBackfill, SweepVerify} {
				call := newSweep(t.Context(), t.Context(), s, SweepInput{Stage: stage}, Plan{Mode: ModeIngest}, nil, SweepProgress{})
				defer call.call.Abandon()
				documents.records = nil
				part := chunkOf()
				ok := stage == SweepBackfill && call.putChunk(part) || stage == SweepVerify && call.dropPresent(part)
				got := documents.records
				if stage == SweepVerify {
					got = nil
					for _, r := range part.Records {
						got = append(got, r.Data)
					}
				}
				if !ok || len(got) != len(want) || part.deadBefore != int64(len(e.Records)-len(want)) {
					t.Fatalf("%s: it brings %d of %d records, and takes %d for dead letters", stage, len(got), len(want), part.deadBefore)
				}
				for i, n := range want {
					if !bytes.Equal(got[i], made.Record(n)) {
						t.Errorf("%s: it brings %s, want record %d", stage, got[i], n)
					}
				}
			}
		})
	}
}

// taken is a stream that takes everything, and Elasticsearch that has nothing.
type taken struct {
	SweptDocuments
	records [][]byte
}

// Replay implements Replayer.
func (d *taken) Replay(_ context.Context, records [][]byte) []stream.Rejection {
	d.records = append(d.records, records...)
	return nil
}

// Find implements sink.Lookup.
func (*taken) Find(_ context.Context, documents []sink.Reference) ([]sink.Found, error) {
	return make([]sink.Found, len(documents)), nil
}
