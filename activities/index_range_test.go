package activities

import (
	"context"
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"

	"millrace/internal/index"
	"millrace/internal/telemetry"
)

// indexRange runs one attempt outside of any workflow.
func indexRange(t *testing.T, p *Processor, r telemetry.Range, last bool) RangeResult {
	t.Helper()
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	env.RegisterActivity(p.IndexRange)
	encoded, err := env.ExecuteActivity(p.IndexRange, RangeInput{Stream: p.Stream, Range: r, Last: last})
	var result RangeResult
	if err == nil {
		err = encoded.Get(&result)
	}
	if err != nil {
		t.Fatal(err)
	}
	return result
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
			w := calmWorld(500)
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
			whole, _ := w.Fetch(context.Background(), telemetry.Range{First: sequence(0), Last: sequence(499)})
			pieces := []LeftRange{{Range: p.rangeOf("shard", whole)}}
			var singles []telemetry.Range
			var counts Counts
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
			if w.indexed() != 500-len(bad) || counts.Indexed+counts.Duplicates != int64(500-len(bad)) || counts.DeadLetters > 0 {
				t.Errorf("%d are indexed, the counts are %+v", w.indexed(), counts)
			}
			for _, n := range bad {
				if !slices.ContainsFunc(singles, func(r telemetry.Range) bool {
					return telemetry.CompareSequence(r.First, sequence(n)) <= 0 && telemetry.CompareSequence(r.Last, sequence(n)) >= 0
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
				if want := slices.Contains(bad, n); (w.durable[sequence(n)] == "ledger") != want {
					t.Errorf("record %d is in %q", n, w.durable[sequence(n)])
				}
			}
		})
	}
}

// TestIndexRangeLeavesUndecidedRecordsAlone: what has an error of its own is
// not bisected.
func TestIndexRangeLeavesUndecidedRecordsAlone(t *testing.T) {
	t.Parallel()
	w := calmWorld(500)
	odd := w.docs[123]
	w.item = func(id telemetry.DocID) index.Class {
		if id == odd {
			return index.Undecided
		}
		return index.Indexed
	}
	p := w.processor()
	whole, _ := w.Fetch(context.Background(), telemetry.Range{First: sequence(0), Last: sequence(499)})
	result := indexRange(t, p, p.rangeOf("shard", whole), false)
	if len(result.Left) != 1 || result.Left[0].Half || result.Left[0].Range.First != sequence(123) || result.Left[0].Range.Count != 1 {
		t.Errorf("left is %+v", result.Left)
	}
	if len(w.sizes) != 1 || w.indexed() != 499 {
		t.Errorf("bulks of %v, %d are indexed", w.sizes, w.indexed())
	}
}
