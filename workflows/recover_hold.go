package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"millrace/activities/recovery"
	"millrace/internal/control"
)

// hold pauses all shards, for as long as the lease, and learns where they are.
// Before they go on, their workers forget which ids are indexed.
func (r *recovering) hold(ctx workflow.Context) error {
	r.Generation = max(r.Generation, uint64(workflow.Now(ctx).UnixMilli()))
	r.Held = true // before it is done: what is told to some shards has to be taken back
	r.Reached = nil
	err := recovery.HoldShards.Execute(workflow.WithActivityOptions(ctx, holdOptions), recovery.HoldInput{Hold: r.lease(ctx)}).Get(ctx, &r.Reached)
	if err != nil {
		return fmt.Errorf("pause all shards: %w", err)
	}
	return nil
}

func (r *recovering) lease(ctx workflow.Context) control.Hold {
	r.Order = nextOrder(ctx, r.Order)
	return control.Hold{
		By: recoverHolder, Reason: "recovery " + r.ID, Until: workflow.Now(ctx).Add(r.in.Lease).UTC().Truncate(time.Second),
		Generation: r.Generation, Order: r.Order,
	}
}

// keepHeld renews the lease while the shards are held, until it is told to
// stop. A recovery that is gone does not: then the lease ends, and the shards go on.
func (r *recovering) keepHeld(ctx workflow.Context) (stop func()) {
	stopped, ended := false, false
	renewing, cancel := workflow.WithCancel(ctx)
	workflow.GoNamed(renewing, "renew the lease", func(ctx workflow.Context) {
		defer func() { ended = true }()
		for {
			if err := workflow.Await(ctx, func() bool { return r.Held || stopped }); err != nil || stopped || ctx.Err() != nil {
				return
			}
			if _, err := workflow.AwaitWithTimeout(ctx, r.in.Lease/3, func() bool { return stopped }); err != nil || stopped {
				return
			}
			if !r.Held {
				continue
			}
			err := recovery.HoldShards.Execute(workflow.WithActivityOptions(ctx, holdOptions), recovery.HoldInput{Hold: r.lease(ctx), Renew: true}).Get(ctx, nil)
			if err != nil {
				return // canceled
			}
		}
	})
	return func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		waiting, done := workflow.NewDisconnectedContext(ctx)
		defer done()
		_ = workflow.Await(waiting, func() bool { return ended })
	}
}

// release lets the shards go on.
func (r *recovering) release(ctx workflow.Context) error {
	r.Order = nextOrder(ctx, r.Order)
	err := recovery.ReleaseShards.Execute(workflow.WithActivityOptions(ctx, releaseOptions), control.Hold{By: recoverHolder, Generation: r.Generation, Order: r.Order}).Get(ctx, nil)
	if err != nil {
		return fmt.Errorf("resume all shards: %w", err)
	}
	r.Held = false
	return nil
}

// command pauses or resumes. A pause is done when nothing is in flight.
func (r *recovering) command(ctx workflow.Context, name string, hold control.Hold) (any, error) {
	r.Holds.apply(name, hold)
	r.show(ctx)
	if name == Pause && r.sweep != nil {
		r.sweep.stop()
		if err := workflow.Await(ctx, func() bool { return r.sweep.working == 0 || len(r.Holds) == 0 }); err != nil {
			return nil, err
		}
	}
	return r.progress(), nil
}

// setRate makes it quicker, or slower.
func (r *recovering) setRate(ctx workflow.Context, _ string, in RateInput) (any, error) {
	if in.Rate < 0 {
		return nil, fmt.Errorf("rate: %g is negative", in.Rate)
	}
	r.in.Rate = in.Rate
	if r.sweep != nil {
		r.sweep.stop() // the next calls know
	}
	r.show(ctx)
	return r.progress(), nil
}
