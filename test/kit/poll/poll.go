// Package poll waits for conditions.
package poll

import (
	"context"
	"fmt"
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

// While waits until look says that it is done, for as long as something moves:
// it gives up only when the state that look describes has been the same for all
// of patience. How fast things move says nothing but how fast the machine is.
func While(ctx context.Context, interval, patience time.Duration, look func() (state string, done bool, err error)) error {
	last, moved := "", time.Now()
	return Every(ctx, interval, func() (bool, error) {
		state, done, err := look()
		if done || err != nil {
			return done, err
		}
		if state != last {
			last, moved = state, time.Now()
		}
		if stood := time.Since(moved); stood >= patience {
			return false, fmt.Errorf("nothing has moved for %v: %s", stood.Round(time.Second), state)
		}
		return false, nil
	})
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
