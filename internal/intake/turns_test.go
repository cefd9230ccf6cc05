package intake

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestTurnsFollowWhatIsAnswered drives a service that answers only while no
// more than a few calls are in flight.
func TestTurnsFollowWhatIsAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(16)
		var mu sync.Mutex
		able, inFlight, failures, calls, limits := 16, 0, 0, 0, 0.0
		call := func() {
			end, err := turns.take(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			inFlight++
			limits += turns.now()
			answered := inFlight <= able
			calls++
			if !answered {
				failures++
			}
			mu.Unlock()
			time.Sleep(10 * time.Millisecond) // inside of the bubble
			mu.Lock()
			inFlight--
			mu.Unlock()
			end(answered)
		}
		run := func(count int) (share, limit float64) {
			failures, calls, limits = 0, 0, 0
			var group sync.WaitGroup
			for range 32 {
				group.Go(func() {
					for range count {
						call()
					}
				})
			}
			group.Wait()
			return float64(failures) / float64(calls), limits / float64(calls)
		}
		if share, _ := run(20); share > 0 {
			t.Errorf("%.2f failed while all was well", share)
		}
		able = 4
		run(10)
		if share, limit := run(100); share > 0.2 || limit < 2 || limit > 5 { // it saws between half and one more than it should
			t.Errorf("%.2f failed, %.1f turns at once on average, where 4 are right", share, limit)
		}
		able = 16
		if run(100); turns.limit < 15 {
			t.Errorf("%.1f turns at once when all is well again", turns.limit)
		}
	})
}

func (t *turns) now() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limit
}

func TestTurnsAreNotLostByWhoGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		end, err := turns.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := turns.take(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
		}
		end(true)
		if end, err = turns.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		end(true)
		if turns.taken != 0 || len(turns.waiting) != 0 {
			t.Errorf("%d turns are taken, %d wait", turns.taken, len(turns.waiting))
		}
	})
}
