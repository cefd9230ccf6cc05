package process

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// TestMarkNeverPassesWhatIsNotDurable processes a shard while everything
// around it fails at random, with one call after another that is stopped at
// any moment, and looks at the mark all the time.
func TestMarkNeverPassesWhatIsNotDurable(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		synctest.Test(t, func(t *testing.T) {
			w, random := newBackends(seed, 1000), rand.New(rand.NewPCG(seed, 3))
			classes := []outcome.Class{outcome.Transient, outcome.TooLarge, outcome.Refused, outcome.Undecided}
			w.fails = func() outcome.Class {
				if w.random.IntN(8) > 0 {
					return outcome.Indexed
				}
				return classes[w.random.IntN(len(classes))]
			}
			w.item = func(id telemetry.DocID) outcome.Class {
				switch {
				case id[0] < 8:
					return outcome.Poison // always the same records
				case id[0] < 10 && id[1]%2 == 0:
					return outcome.Undecided
				case w.chance(40):
					return outcome.Transient
				}
				return outcome.Indexed
			}
			counts := w.process(t, w.processor(), random, func(*pipeline) {})
			if counts.Records != int64(len(w.Records)) || counts.DeadLetters == 0 || counts.HandedOver == 0 || counts.Earlier() == 0 {
				t.Fatalf("seed %d: in the end the counts are %+v", seed, counts)
			}
		})
	}
}
