package stream

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// budget spreads what may be read of one shard over time. Bytes are known only
// when they have been read, so they push the next call back, as Kinesis itself
// does it: after a page of 10 MiB it refuses calls for five seconds.
type budget struct {
	perCall time.Duration // 0: calls are not limited
	perByte float64       // nanoseconds; 0: bytes are not limited

	mu   sync.Mutex
	next time.Time // when the next call may be made
}

func newBudget(callsPerSecond float64, bytesPerSecond int) *budget {
	b := &budget{}
	if callsPerSecond > 0 {
		b.perCall = time.Duration(float64(time.Second) / callsPerSecond)
	}
	if bytesPerSecond > 0 {
		b.perByte = float64(time.Second) / float64(bytesPerSecond)
	}
	return b
}

// reserve reserves the next call and returns when it may be made.
func (b *budget) reserve(now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.next
	if at.Before(now) {
		at = now
	}
	b.next = at.Add(b.perCall)
	return at
}

// spend accounts for the bytes of a call made at that time.
func (b *budget) spend(at time.Time, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if paid := at.Add(time.Duration(float64(bytes) * b.perByte)); paid.After(b.next) {
		b.next = paid
	}
}

// Backoff of reads that fail or are throttled: exponential with full jitter.
const (
	backoffBase = 100 * time.Millisecond
	backoffMost = 5 * time.Second
)

// backoff returns how long to wait after so many failures in a row.
func backoff(failures int) time.Duration {
	return rand.N(min(backoffBase<<min(failures, 10), backoffMost)) + 1
}

// wait sleeps until a time, unless ctx ends first.
func wait(ctx context.Context, until time.Time) error {
	d := time.Until(until)
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
