package intake

import (
	"context"
	"sync"
)

// turns bounds the batches that are put at the same time, by what the stream
// can take: additive increase while its calls are answered, multiplicative
// decrease when they are not. A call that times out in a service's queue is
// often work done all the same, and then done twice.
type turns struct {
	most float64

	mu      sync.Mutex
	limit   float64
	taken   int
	epoch   int        // raised by each decrease
	waiting []chan int // told the epoch of the turn that is granted
}

func newTurns(most int) *turns { return &turns{most: float64(most), limit: float64(most)} }

// take waits for a turn. The caller ends it, saying whether the stream
// answered. The error is the context's.
func (t *turns) take(ctx context.Context) (end func(answered bool), err error) {
	granted := make(chan int, 1)
	t.mu.Lock()
	t.waiting = append(t.waiting, granted)
	t.grant()
	t.mu.Unlock()
	select {
	case epoch := <-granted:
		return func(answered bool) { t.end(answered, epoch) }, nil
	case <-ctx.Done():
		if !t.leave(granted) {
			t.end(true, <-granted) // it was granted at this moment
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
func (t *turns) end(answered bool, epoch int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.taken--
	switch {
	case answered:
		t.limit = min(t.most, t.limit+1/t.limit)
	case epoch == t.epoch:
		t.limit = max(1, t.limit/2)
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
