package process

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/circuit"
	"millrace/internal/indexing"
	"millrace/internal/source"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// A few records that cannot be blamed alone, by an answer or by a panic, are
// no bad deployment: the circuit stays closed, and their neighbours do not
// wait for a ProcessBatch.
func TestAFewNotAttributableRecordsDoNotTripTheCircuit(t *testing.T) {
	t.Parallel()
	for name, panics := range map[string]bool{"refused": false, "panicked": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := calmBackends(4000)
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
			if missing != len(bad) {
				t.Errorf("%d records are not indexed for %d bad ones", missing, len(bad))
			}
			c := got.Counts
			if c.Records != 4000 || c.Records != c.Indexed+c.Earlier()+c.DeadLetters+c.HandedOver {
				t.Errorf("the counts are %+v", c)
			}
			for n, r := range w.Records {
				if !w.ids[w.docs[n]] && w.durable[r.Sequence] == "" {
					t.Fatalf("%s is durable nowhere", r.Sequence)
				}
			}
		})
	}
}

// TestAShareThatNobodyCanBlameAlone goes through bulks of the default size, of
// which all pieces are refused, too, that narrow begins with: the share of bad
// records decides, and at a small one the good ones are indexed at once.
func TestAShareThatNobodyCanBlameAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		every   int // this many records there is a bad one
		tripped bool
		missing int // at the most, of 16,000 records
		most    int // requests
	}{
		"1 %":   {100, false, 160, 2 * indexing.BisectMost},
		"5 %":   {20, false, 16_000, 2 * (indexing.BisectMost + indexing.BisectPieces)},
		"20 %":  {5, false, 16_000, 2 * (indexing.BisectMost + indexing.BisectPieces)},
		"100 %": {1, true, 16_000, 2 * (1 + indexing.BisectPieces + indexing.BisectSample)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := tenantBackends(2*DefaultBulkRecords, "acme", "globex")
				bad := map[telemetry.DocID]bool{}
				for n := 0; n < len(w.docs); n += c.every {
					bad[w.docs[n]] = true
				}
				w.whole = func(ids []telemetry.DocID) bool {
					return slices.ContainsFunc(ids, func(id telemetry.DocID) bool { return bad[id] })
				}
				p := w.processor()
				p.Limits.BulkRecords, p.Limits.BulksPerShard = DefaultBulkRecords, 2
				p.Source = allAtOnce{w}
				line := newPipeline(t.Context(), p, "shard", circuit.New(circuit.Settings{}), newMark(telemetry.Checkpoint{}, indexing.Counts{}))
				defer line.work.call.Abandon()
				line.run(p.Source.Read("shard", telemetry.Checkpoint{}))
				state := line.mark.state()
				w.check(t, state)
				if tripped, _ := line.circuit.IsOpen(); tripped != c.tripped || tripped == state.checkpoint.Closed {
					t.Errorf("tripped: %t, the mark is at %+v", tripped, state)
				}
				if given := state.counts.DeadLetters + state.counts.HandedOver; c.tripped && given > 0 {
					t.Errorf("%d records were given up", given)
				}
				if missing := len(w.docs) - len(w.ids); missing < len(bad) || missing > c.missing {
					t.Errorf("%d records are not indexed, %d are bad", missing, len(bad))
				}
				if len(w.sizes) > c.most {
					t.Errorf("it took %d requests", len(w.sizes))
				}
			})
		})
	}
}

// allAtOnce is a source whose readers have all records in one page.
type allAtOnce struct{ *backends }

func (a allAtOnce) Read(string, telemetry.Checkpoint) source.Reader { return onePage{a.backends} }

type onePage struct{ w *backends }

func (r onePage) Next(context.Context) (stream.Page, error) {
	return stream.Page{Records: r.w.Records, End: true}, nil
}

func (onePage) Close() {}
