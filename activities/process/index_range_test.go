package process

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// indexRange runs one attempt outside of any workflow.
func indexRange(t *testing.T, p *Processor, r telemetry.Range, last bool) RangeResult {
	t.Helper()
	result, err := runRange(t.Context(), p.IndexRange, RangeInput{Stream: p.Stream, Range: r, Last: last})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// runRange runs an activity outside of any workflow, and on a worker whose
// activities have this context.
func runRange(ctx context.Context, of func(context.Context, RangeInput) (RangeResult, error), in RangeInput) (result RangeResult, err error) {
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	env.SetWorkerOptions(worker.Options{BackgroundActivityContext: ctx})
	env.RegisterActivity(of)
	encoded, err := env.ExecuteActivity(of, in)
	if err == nil {
		err = encoded.Get(&result)
	}
	return result, err
}

// TestIndexRangeBisectsWhatIsNotAttributable: a record that makes each request
// fail that it is in, or panics, is found, and all others are indexed.
func TestIndexRangeBisectsWhatIsNotAttributable(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(){
		"refused": nil,
		"panics":  func() { panic("a made-up panic") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := calmBackends(500)
			bad := []int{5, 333, 334}
			w.whole = func(ids []telemetry.DocID) bool {
				for _, n := range bad {
					if slices.Contains(ids, w.docs[n]) {
						if fail != nil {
							fail()
						}
						return true
					}
				}
				return false
			}
			p := w.processor()
			whole, _ := w.Fetch(context.Background(), telemetry.Range{First: made.Sequence(0), Last: made.Sequence(499)})
			pieces := []LeftRange{{Range: rangeOf(p.Stream, "shard", whole)}}
			var singles []telemetry.Range
			var counts indexing.Counts
			for calls := 0; len(pieces) > 0; calls++ {
				if calls == 40 {
					t.Fatalf("still left are %v", pieces)
				}
				result := indexRange(t, p, pieces[0].Range, false)
				pieces = pieces[1:]
				counts.Add(result.Counts)
				for _, left := range result.Left {
					if left.Half {
						pieces = append(pieces, left)
					} else {
						singles = append(singles, left.Range)
					}
				}
			}
			if w.indexed() != 500-len(bad) || counts.Indexed+counts.Earlier() != int64(500-len(bad)) || counts.DeadLetters > 0 {
				t.Errorf("%d are indexed, the counts are %+v", w.indexed(), counts)
			}
			for _, n := range bad {
				if !slices.ContainsFunc(singles, func(r telemetry.Range) bool {
					return telemetry.ComparePositions(r.First, made.Sequence(n)) <= 0 && telemetry.ComparePositions(r.Last, made.Sequence(n)) >= 0
				}) {
					t.Errorf("record %d is in none of %v", n, singles)
				}
			}
			for _, r := range singles {
				if result := indexRange(t, p, r, true); len(result.Left) > 0 {
					t.Errorf("after the last attempt at %s there is left %v", r, result.Left)
				}
			}
			for n := range 500 {
				if want := slices.Contains(bad, n); (w.durable[made.Sequence(n)] == "ledger") != want {
					t.Errorf("record %d is in %q", n, w.durable[made.Sequence(n)])
				}
			}
		})
	}
}

// TestIndexRangeLeavesUndecidedRecordsAlone: what has an error of its own is
// not bisected.
func TestIndexRangeLeavesUndecidedRecordsAlone(t *testing.T) {
	t.Parallel()
	w := calmBackends(500)
	odd := w.docs[123]
	w.item = func(id telemetry.DocID) outcome.Class {
		if id == odd {
			return outcome.Undecided
		}
		return outcome.Indexed
	}
	p := w.processor()
	whole, _ := w.Fetch(context.Background(), telemetry.Range{First: made.Sequence(0), Last: made.Sequence(499)})
	result := indexRange(t, p, rangeOf(p.Stream, "shard", whole), false)
	if len(result.Left) != 1 || result.Left[0].Half || result.Left[0].Range.First != made.Sequence(123) || result.Left[0].Range.Count != 1 {
		t.Errorf("left is %+v", result.Left)
	}
	if len(w.sizes) != 1 || w.indexed() != 499 {
		t.Errorf("bulks of %v, %d are indexed", w.sizes, w.indexed())
	}
}

// TestAnInterruptedAttemptLeavesWhatHasNoOutcome, and nothing else, however it
// is waiting at that moment; an attempt whose worker stops is tried again.
func TestAnInterruptedAttemptLeavesWhatHasNoOutcome(t *testing.T) {
	t.Parallel()
	const records, stuck, odd, poison = 200, 50, 60, 70
	for name, c := range map[string]struct {
		cause error
		ends  bool
	}{
		"canceled":         {temporal.NewCanceledError(), true},
		"the worker stops": {worker.ErrWorkerShutdown, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := calmBackends(records)
			w.item = func(id telemetry.DocID) outcome.Class {
				switch id {
				case w.docs[stuck], w.docs[stuck+1], w.docs[stuck+40]:
					return outcome.Transient
				case w.docs[odd]:
					return outcome.Undecided
				case w.docs[poison]:
					return outcome.Poison
				}
				return outcome.Indexed
			}
			p := w.processor()
			ctx, cancel := context.WithCancelCause(t.Context())
			go func() {
				for w.indexed() < records-5 {
					<-time.After(time.Millisecond)
				}
				cancel(c.cause)
			}()
			result, err := runRange(ctx, p.IndexRange, RangeInput{Stream: p.Stream, Range: rangeOf(p.Stream, "shard", w.Records)})
			if !c.ends {
				if err == nil {
					t.Errorf("it ended with %+v", result)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, part := range result.Left {
				left = append(left, part.Range.First, part.Range.Last)
				if none := part.Cause == (outcome.Error{}); none == (part.Range.First == made.Sequence(odd)) {
					t.Errorf("%s is left for %+v", part.Range, part.Cause)
				}
			}
			if want := []string{made.Sequence(stuck), made.Sequence(stuck + 1), made.Sequence(odd), made.Sequence(odd), made.Sequence(stuck + 40), made.Sequence(stuck + 40)}; !slices.Equal(left, want) {
				t.Errorf("left are %v, want %v", left, want)
			}
			if want := (indexing.Counts{Records: records - 4, Indexed: records - 5, DeadLetters: 1}); result.Counts != want || w.durable[made.Sequence(poison)] != "ledger" {
				t.Errorf("it counts %+v, want %+v", result.Counts, want)
			}
		})
	}
}

// TestAnInterruptedAttemptLeavesWhatItHasNotComeTo: while it waits for a place,
// or bisects.
func TestAnInterruptedAttemptLeavesWhatItHasNotComeTo(t *testing.T) {
	t.Parallel()
	w := calmBackends(40)
	ctx, cancel := context.WithCancelCause(t.Context())
	w.whole = func(ids []telemetry.DocID) bool {
		if len(ids) == 5 {
			cancel(temporal.NewCanceledError())
		}
		return slices.Contains(ids, w.docs[0])
	}
	p := w.processor()
	result, err := runRange(ctx, p.IndexRange, RangeInput{Stream: p.Stream, Range: rangeOf(p.Stream, "shard", w.Records)})
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, part := range result.Left {
		count += part.Range.Count
	}
	if count == 0 || count+w.indexed() != len(w.Records) || int(result.Counts.Records) != w.indexed() {
		t.Errorf("%d are indexed, left are %+v, the counts are %+v", w.indexed(), result.Left, result.Counts)
	}
}

// TestDeadLettersOfAnInterruptedAttemptAreReported by the next one, which may not take
// an entry of the ledger for a letter that was sent.
func TestDeadLettersOfAnInterruptedAttemptAreReported(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(p *Processor, in RangeInput) (RangeResult, error){
		"tried again": func(p *Processor, in RangeInput) (RangeResult, error) {
			return runRange(t.Context(), p.IndexRange, in)
		},
		"given up": func(p *Processor, in RangeInput) (RangeResult, error) {
			in.Cause = outcome.Error{Type: "skipped"}
			return runRange(t.Context(), p.BuryRange, in)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const poison = 7
			w := calmBackends(10)
			w.item = func(id telemetry.DocID) outcome.Class {
				return map[bool]outcome.Class{true: outcome.Poison, false: outcome.Indexed}[id == w.docs[poison]]
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			p, dlq := w.processor(), letterBox{}
			p.DeadLetters = deadletter.NewWriter(noteless{p.Ledger, func() { cancel(temporal.NewCanceledError()) }}, deaf{dlq})
			whole := rangeOf(p.Stream, "shard", w.Records)
			result, err := runRange(ctx, p.IndexRange, RangeInput{Stream: p.Stream, Range: whole})
			if err != nil || !result.Untold || len(result.Left) != 1 || result.Left[0].Range.First != made.Sequence(poison) {
				t.Fatalf("the interrupted attempt ends with %+v, %v", result, err)
			}
			entries := 0
			for _, err := range p.Ledger.List(t.Context(), ledger.Filter{}) {
				if err != nil {
					t.Fatal(err)
				}
				entries++
			}
			if entries != 1 || len(dlq) != 0 {
				t.Fatalf("it left %d entries and letters of %v", entries, dlq)
			}
			p.DeadLetters = deadletter.NewWriter(p.Ledger, dlq)
			if result, err := end(p, RangeInput{Stream: p.Stream, Range: result.Left[0].Range, Untold: result.Untold}); err != nil || len(result.Left) > 0 || result.Untold {
				t.Fatalf("the next one ends with %+v, %v", result, err)
			}
			if id := fmt.Sprint(poison); dlq[id] != 1 {
				t.Errorf("letters report %v", dlq)
			}
		})
	}
}

// TestARecordHasOneLedgerEntry, and reported once, also when what was left of its
// range was too scattered to be tried without it, or is given up as a whole.
func TestARecordHasOneLedgerEntry(t *testing.T) {
	t.Parallel()
	const first, poison, last = 20, 31, 80
	for name, end := range map[string]func(p *Processor, r telemetry.Range) (RangeResult, error){
		"after the last attempt": func(p *Processor, r telemetry.Range) (RangeResult, error) {
			return runRange(t.Context(), p.IndexRange, RangeInput{Stream: p.Stream, Range: r, Last: true})
		},
		"given up": func(p *Processor, r telemetry.Range) (RangeResult, error) {
			return runRange(t.Context(), p.BuryRange, RangeInput{Stream: p.Stream, Range: r, Cause: outcome.Error{Type: "skipped"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := calmBackends(100)
			bad := map[telemetry.DocID]outcome.Class{w.docs[poison]: outcome.Poison}
			for n := first; n <= last; n += 2 {
				bad[w.docs[n]] = outcome.Undecided
			}
			w.item = func(id telemetry.DocID) outcome.Class {
				if class, ok := bad[id]; ok {
					return class
				}
				return outcome.Indexed
			}
			p, told := w.processor(), letterBox{}
			p.DeadLetters = deadletter.NewWriter(p.Ledger, told)
			result := indexRange(t, p, rangeOf(p.Stream, "shard", w.Records), false)
			if len(result.Left) != 1 || result.Left[0].Range.First != made.Sequence(first) || result.Left[0].Range.Last != made.Sequence(last) {
				t.Fatalf("left are %+v", result.Left)
			}
			if result, err := end(p, result.Left[0].Range); err != nil || len(result.Left) > 0 {
				t.Fatalf("in the end there is left %+v, %v", result.Left, err)
			}
			entries := map[string]int{}
			for key, err := range p.Ledger.List(t.Context(), ledger.Filter{}) {
				if err != nil {
					t.Fatal(err)
				}
				e, err := p.Ledger.Get(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range e.Records {
					entries[r.ID]++
				}
			}
			for n := range w.Records {
				want := 0
				if _, ok := bad[w.docs[n]]; ok {
					want = 1
				}
				if id := fmt.Sprint(n); entries[id] != want || told[id] != want {
					t.Errorf("record %d is in %d entries and %d letters, want %d", n, entries[id], told[id], want)
				}
			}
		})
	}
}

// TestABatchGoesPastTheCache: no recovery tells it that what its worker has seen
// indexed is not there any more.
func TestABatchGoesPastTheCache(t *testing.T) {
	t.Parallel()
	const gone, there, open = 3, 5, 7
	for name, c := range map[string]struct {
		away    bool // Elasticsearch does not answer
		givesUp bool
		want    map[int]string // where
	}{
		"tried":                  {want: map[int]string{gone: "index", there: "index", open: "index"}},
		"given up":               {givesUp: true, want: map[int]string{gone: "ledger", there: "index", open: "ledger"}},
		"given up, in an outage": {givesUp: true, away: true, want: map[int]string{gone: "ledger", there: "both", open: "ledger"}},
	} {
		w := calmBackends(10)
		p := w.processor()
		for _, n := range []int{gone, there} {
			p.Indexer.Seen.Mark(p.Indexer.Seen.Generation(), w.docs[n], 0)
		}
		w.ids[w.docs[there]] = true
		of := p.IndexRange
		if c.givesUp {
			of = p.BuryRange
		}
		if c.away {
			p.Indexer.Lookup = awayLookup{}
		}
		if _, err := runRange(t.Context(), of, RangeInput{Stream: p.Stream, Range: rangeOf(p.Stream, "shard", w.Records)}); err != nil {
			t.Fatal(err)
		}
		for n, want := range c.want {
			where := w.durable[made.Sequence(n)]
			switch {
			case w.ids[w.docs[n]] && where == "ledger":
				where = "both"
			case w.ids[w.docs[n]]:
				where = "index"
			}
			if where != want {
				t.Errorf("%s: record %d is in %q, want %q", name, n, where, want)
			}
		}
	}
}

// TestAShortReadIsNoLoss: what is called lost is not indexed any more.
func TestAShortReadIsNoLoss(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		gives []int
		lost  int
	}{
		"once nothing":    {[]int{0}, 0},
		"some of it":      {[]int{3, 0, 5}, 0},
		"again and again": {slices.Repeat([]int{4}, shortReads), 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := calmBackends(10)
			p := w.processor()
			p.Source = &shortSource{w, c.gives}
			result := indexRange(t, p, rangeOf(p.Stream, "shard", w.Records), false)
			if w.indexed() != 10-c.lost || result.Counts.DeadLetters != int64(c.lost) {
				t.Errorf("%d are indexed, the counts are %+v", w.indexed(), result.Counts)
			}
		})
	}
}

// A range that is given up holds no record that is indexed, also not one that
// says something else.
func TestAGivenUpRangeTellsConflicts(t *testing.T) {
	t.Parallel()
	w, server := calmBackends(3), digests{}
	w.Records = []stream.Record{posted(0, 7), posted(1, 7), posted(2, 7)}
	p := w.processor()
	p.Indexer.Lookup = server
	for n, digest := range map[int]telemetry.Digest{0: 7, 1: 8} {
		r, err := telemetry.Parse(w.Records[n].Data)
		if err != nil {
			t.Fatal(err)
		}
		server[r.DocID.String()] = digest
	}
	result, err := runRange(t.Context(), p.BuryRange, RangeInput{Stream: p.Stream, Range: rangeOf(p.Stream, "shard", w.Records)})
	if want := (indexing.Counts{Records: 3, Duplicates: 1, Conflicts: 1, DeadLetters: 1}); err != nil || result.Counts != want {
		t.Errorf("%+v, %v", result.Counts, err)
	}
	if got := slices.Sorted(maps.Keys(w.durable)); !slices.Equal(got, []string{made.Sequence(2)}) {
		t.Errorf("given up are %v", got)
	}
}
