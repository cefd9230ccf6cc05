package batching_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/api/batching"
)

// TestPlacesFollowTheTimeOfABatch: a server that makes one batch durable at a time gets few, which grow, and one that takes
// any number at once gets all that may be in flight.
func TestPlacesFollowTheTimeOfABatch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		atOnce      int
		takes       time.Duration
		least, most int // in flight, at the end of the load
	}{
		"one at a time":   {1, 10 * time.Millisecond, 4, 10},
		"eight at a time": {8, 40 * time.Millisecond, 8, 20},
		"any number":      {1000, 200 * time.Millisecond, batching.DefaultInFlight, batching.DefaultInFlight},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDurable()
				d.takes, d.turns = c.takes, make(chan struct{}, c.atOnce)
				b := batching.New(batching.Settings{}, d, d)
				defer b.Close()
				load := func(d time.Duration) {
					var group sync.WaitGroup
					for poster := range 160 {
						group.Go(func() {
							for n, begin := 0, time.Now(); time.Since(begin) < d; n++ {
								if _, err := b.Ingest(t.Context(), "tenant", records(fmt.Sprintf("%d-%d", poster, n), 100, 50)); err != nil {
									t.Error(err)
								}
							}
						})
					}
					group.Wait()
				}
				load(2 * time.Second)
				d.forget()
				load(time.Second / 2)
				if d.most < c.least || d.most > c.most {
					t.Errorf("up to %d batches were in flight, want %d to %d", d.most, c.least, c.most)
				}
			})
		})
	}
}
