package activities

import (
	"slices"
	"testing"
	"time"

	"millrace/internal/telemetry"
)

// A few records that nobody can blame alone, by an answer or by a panic, are
// no bad deployment: the circuit stays closed, and their neighbours do not
// wait for a ProcessBatch.
func TestAFewNotAttributableRecordsDoNotTripTheCircuit(t *testing.T) {
	t.Parallel()
	for name, panics := range map[string]bool{"refused": false, "panicked": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := calmWorld(4000)
			bad := map[telemetry.DocID]bool{}
			for n := 100; n < len(w.docs); n += 400 {
				bad[w.docs[n]] = true
			}
			w.whole = func(ids []telemetry.DocID) bool {
				found := slices.ContainsFunc(ids, func(id telemetry.DocID) bool { return bad[id] })
				if found && panics {
					panic("a bug")
				}
				return found
			}
			p := w.processor()
			p.Limits.BulkRecords = 1000
			got := indexShard(t, p, IndexInput{For: time.Minute})
			if got.Tripped || !got.Checkpoint.Closed || got.Counts.Batches == 0 {
				t.Fatalf("the result is %+v", got)
			}
			missing := 0
			for _, id := range w.docs {
				if id != (telemetry.DocID{}) && !w.ids[id] {
					missing++
				}
			}
			if missing < len(bad) || missing > 10*len(bad) {
				t.Errorf("%d records are not indexed for %d bad ones", missing, len(bad))
			}
			c := got.Counts
			if c.Records != 4000 || c.Records != c.Indexed+c.Duplicates+c.DeadLetters+c.HandedOver {
				t.Errorf("the counts are %+v", c)
			}
			for n, r := range w.records {
				if !w.ids[w.docs[n]] && w.durable[r.Sequence] == "" {
					t.Fatalf("%s is durable nowhere", r.Sequence)
				}
			}
		})
	}
}
