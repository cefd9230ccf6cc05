// Package poll waits for conditions.
package poll

import (
	"context"
	"time"
)

// interval lies between two looks at a condition.
const interval = 500 * time.Millisecond

// Until waits until a condition holds, or cannot be looked at, or ctx ends.
func Until(ctx context.Context, condition func() (bool, error)) error {
	return Every(ctx, interval, condition)
}

// Every is Until for conditions that are looked at more often, or less.
func Every(ctx context.Context, interval time.Duration, condition func() (bool, error)) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		if done, err := condition(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// For lets something go on for a while.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
