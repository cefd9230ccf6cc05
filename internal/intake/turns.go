package intake

import (
	"context"
	"sync"
)

// turns bounds the batches that are put at the same time, by what the stream
// can take: additive increase while it takes what it is given, multiplicative
// decrease when it does not. A call that times out in a service's queue is often
// work done all the same, and then done twice; one that is throttled comes again.
type turns struct {
	most float64

	mu      sync.Mutex
	limit   float64
	taken   int
	epoch   int        // raised by each decrease
	waiting []chan int // told the epoch of the turn that is granted
}

// verdict is how the stream did with a batch.
type verdict int

const (
	took       verdict = iota // most of it, at least
	throttled                 // most of it
	unanswered                // some of it
)

// leastThrottled is how far throttling alone lowers the limit: a stream that
// throttles answers at once, and what it does not take must get to the queue.
const leastThrottled = 4

func newTurns(most int) *turns { return &turns{most: float64(most), limit: float64(most)} }

// acquire waits for a turn. The caller ends it, saying how the stream did. The error
// is the context's.
func (t *turns) acquire(ctx context.Context) (end func(verdict), err error) {
	granted := make(chan int, 1)
	t.mu.Lock()
	t.waiting = append(t.waiting, granted)
	t.grant()
	t.mu.Unlock()
	select {
	case epoch := <-granted:
		return func(v verdict) { t.end(v, epoch) }, nil
	case <-ctx.Done():
		if !t.leave(granted) {
			t.end(took, <-granted) // it was granted at this moment
		}
		return nil, context.Cause(ctx)
	}
}

// leave takes back a wish that was not granted yet.
func (t *turns) leave(wish chan int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, w := range t.waiting {
		if w == wish {
			t.waiting = append(t.waiting[:n:n], t.waiting[n+1:]...)
			return true
		}
	}
	return false
}

// end gives a turn back. Those that began before the last decrease do not
// count for another one.
func (t *turns) end(v verdict, epoch int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	switch {
	case v == took:
		t.limit = min(t.most, t.limit+1/t.limit)
	case epoch == t.epoch:
		least := 1.0
		if v == throttled {
			least = min(t.limit, leastThrottled)
		}
		t.limit = max(least, t.limit/2)
		t.epoch++
	}
	putLimit.Set(t.limit)
	t.grant()
}

func (t *turns) grant() {
	for len(t.waiting) > 0 && t.taken < int(t.limit) {
		t.taken++
		t.waiting[0] <- t.epoch
		t.waiting = t.waiting[1:]
	}
}
