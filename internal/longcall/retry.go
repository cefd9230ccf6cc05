package longcall

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// Waits between attempts at operations that must succeed in the end: exponential,
// half of each at random. Attempts have no limit: the records are safe in the
// stream, and operators see that the shard waits, and why.
const (
	FirstWait   = 100 * time.Millisecond
	LongestWait = 5 * time.Second
)

// ErrStopped says that a call was stopped before it was done.
var ErrStopped = errors.New("stopped before it was done")

// Backoff waits for between half of d and d, and reports false if ctx ended first.
func Backoff(ctx context.Context, d time.Duration) bool {
	return Sleep(ctx, d/2+rand.N(d/2+1))
}

// Sleep waits for d, and reports false if ctx ended first.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Retry repeats an operation until it succeeds, and meanwhile enters in stall what
// the call waits for. It reports false only when ctx has ended; an attempt that
// began before that may still succeed.
func Retry(ctx context.Context, stall *Stall, what string, operation func() error) bool {
	for wait := FirstWait; ; wait = min(2*wait, LongestWait) {
		err := operation()
		if err == nil {
			stall.Clear(what)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		stall.Set(what, err)
		if !Backoff(ctx, wait) {
			return false
		}
	}
}
