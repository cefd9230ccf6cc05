package longcall

import (
	"cmp"
	"context"
	"time"

	"go.temporal.io/sdk/activity"
)

// LookEvery is how often a watch looks whether its call is to end.
const LookEvery = time.Second

// DefaultDrain is how long what is in flight may take after a call was stopped.
const DefaultDrain = 10 * time.Second

// Watch looks after a call that works in goroutines of its own: it sends
// heartbeats, and ends the call when it is time.
type Watch struct {
	For   time.Duration // how long the call may take
	Drain time.Duration // how long what is in flight may take after Stop

	// Look returns the details of a heartbeat, and why the call is to end, if it
	// is. due says that its time is over, which is for the call to decide: one
	// that ends before it has achieved anything never gets on.
	Look func(due bool) (details any, end error)
	Call *Call
}

// Until watches until the call has finished.
func (w Watch) Until(ctx context.Context, finished <-chan struct{}) {
	look := time.NewTicker(LookEvery)
	defer look.Stop()
	heartbeat := time.NewTimer(firstHeartbeat)
	defer heartbeat.Stop()
	due := time.After(w.For)
	canceled, stopping := ctx.Done(), activity.GetWorkerStopChannel(ctx)
	var drained <-chan time.Time
	end := func(reason error) {
		if reason != nil && drained == nil {
			w.Call.Stop(reason)
			drained = time.After(w.Drain)
		}
	}
	isDue := false
	for {
		select {
		case <-finished:
			if yields(ctx) != nil {
				details, _ := w.Look(isDue)
				record(ctx, details)
			}
			return
		case <-look.C:
			_, reason := w.Look(isDue)
			end(reason)
		case <-heartbeat.C:
			heartbeat.Reset(HeartbeatEvery)
			details, reason := w.Look(isDue)
			record(ctx, details)
			end(reason)
		case <-due:
			isDue = true
			_, reason := w.Look(isDue)
			end(reason)
		case <-canceled:
			canceled = nil
			end(cmp.Or(yields(ctx), ErrCanceled))
		case <-stopping:
			stopping = nil
			end(ErrWorkerStopping)
		case <-drained:
			w.Call.Abandon()
		}
	}
}
