package longcall

import "context"

// Call is a long call under way. It ends in two steps, so that what it has begun is
// not lost.
type Call struct {
	// Going ends when the call is to begin nothing new, Work a little later, when it
	// gives up what is still in flight.
	Going, Work context.Context
	// Stall is what keeps the call from getting on.
	Stall Stall

	stop    context.CancelCauseFunc // ends Going
	abandon context.CancelFunc      // ends both
}

// Begin begins a call. The end of ctx does not end it, Stop does. Abandon it at
// last, which frees its memory.
func Begin(ctx context.Context) *Call {
	work, abandon := context.WithCancel(context.WithoutCancel(ctx))
	going, stop := context.WithCancelCause(work)
	return &Call{Going: going, Work: work, stop: stop, abandon: abandon}
}

// Within begins a call that begins nothing new once going has ended, and finishes its
// work in work. Abandon it at last, which frees its memory.
func Within(going, work context.Context) *Call {
	work, giveUp := context.WithCancel(work)
	going, stop := context.WithCancelCause(going)
	return &Call{Going: going, Work: work, stop: stop, abandon: func() { stop(ErrStopped); giveUp() }}
}

// Stop lets the call begin nothing new. The first reason counts.
func (c *Call) Stop(reason error) { c.stop(reason) }

// Abandon gives up what is in flight.
func (c *Call) Abandon() { c.abandon() }

// IsStopped reports whether the call is to begin nothing new.
func (c *Call) IsStopped() bool { return c.Going.Err() != nil }

// Reason is why the call was stopped; nil while it is not.
func (c *Call) Reason() error { return context.Cause(c.Going) }

// Retry repeats an operation until it succeeds. It reports false only when the call
// was stopped before that.
func (c *Call) Retry(what string, operation func() error) bool {
	return Retry(c.Going, &c.Stall, what, operation)
}

// Finish repeats an operation that completes what was begun, also after Stop. It
// reports false only when the call was abandoned before that.
func (c *Call) Finish(what string, operation func() error) bool {
	return Retry(c.Work, &c.Stall, what, operation)
}

// StopWith stops the call when ctx ends, until unhook is called.
func (c *Call) StopWith(ctx context.Context) (unhook func()) {
	stop := context.AfterFunc(ctx, func() { c.Stop(context.Cause(ctx)) })
	return func() { stop() }
}
