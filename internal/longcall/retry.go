package longcall

import (
	"context"
	"errors"
	"time"

	"millrace/internal/backoff"
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
		if !backoff.Wait(ctx, wait) {
			return false
		}
	}
}
