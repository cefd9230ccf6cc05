package activities

import (
	"strings"
	"testing"
	"time"

	"millrace/internal/index"
	"millrace/internal/telemetry"
)

// badShare makes a share of the documents poison, always the same.
func badShare(share float64) func(telemetry.DocID) index.Class {
	return func(id telemetry.DocID) index.Class {
		if float64(id[0]) < share*256 {
			return index.Poison
		}
		return index.Indexed
	}
}

// TestTheCircuitOpensBeforeAFlood: of a shard that is all poison nothing is
// given up, and its mark stays before it; probes take few records, and when all
// is mended everything is indexed.
func TestTheCircuitOpensBeforeAFlood(t *testing.T) {
	t.Parallel()
	for name, whole := range map[string]bool{"attributable": false, "not attributable": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := calmWorld(3000)
			if whole {
				w.whole = func([]telemetry.DocID) bool { return true }
			} else {
				w.item = badShare(1)
			}
			p := w.processor()
			got := indexShard(t, p, IndexInput{For: time.Minute})
			if !got.Tripped || got.Waiting || got.Counts.DeadLetters+got.Counts.HandedOver >= circuitLeast || !strings.Contains(got.LastError, "made_up") {
				t.Fatalf("the result is %+v", got)
			}
			given := got.Counts.DeadLetters + got.Counts.HandedOver
			probes := len(w.sizes)
			again := indexShard(t, p, IndexInput{For: time.Minute, Probe: true, Checkpoint: got.Checkpoint, Counts: got.Counts})
			if !again.Tripped || again.Counts.DeadLetters+again.Counts.HandedOver >= given+circuitLeast {
				t.Errorf("the probe ended with %+v", again)
			}
			for _, size := range w.sizes[probes:] {
				if size > circuitLeast {
					t.Errorf("a probe sent %d records", size)
				}
			}
			w.item, w.whole = badShare(0), nil
			mended := indexShard(t, p, IndexInput{For: time.Minute, Probe: true, Checkpoint: again.Checkpoint, Counts: again.Counts})
			if mended.Tripped || mended.Counts.Indexed == 0 {
				t.Errorf("when it is mended the probe ends with %+v", mended)
			}
			end := indexShard(t, p, IndexInput{For: time.Minute, Checkpoint: mended.Checkpoint, Counts: mended.Counts})
			if !end.Checkpoint.Closed || end.Counts.Records != 3000 || end.Counts.Indexed+end.Counts.DeadLetters+end.Counts.HandedOver != 3000 {
				t.Errorf("in the end it is %+v", end)
			}
		})
	}
}

func TestTheCircuitStaysClosed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		records int
		share   float64
		force   bool
	}{
		"at a share that is no flood":   {3000, 0.3, false},
		"for few records":               {circuitLeast - 1, 1, false},
		"when an operator will have it": {3000, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := calmWorld(c.records)
			w.item = badShare(c.share)
			got := indexShard(t, w.processor(), IndexInput{For: time.Minute, Force: c.force})
			if got.Tripped || !got.Checkpoint.Closed || got.Counts.Records != int64(c.records) || got.Counts.DeadLetters == 0 {
				t.Errorf("the result is %+v", got)
			}
		})
	}
}
