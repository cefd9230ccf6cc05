// Package backoff waits between attempts.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Wait waits for between half of d and d, so that those who failed together do not
// try again together, and reports false if ctx ended first.
func Wait(ctx context.Context, d time.Duration) bool { return Sleep(ctx, d/2+rand.N(d/2+1)) }

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
