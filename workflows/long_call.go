package workflows

import "go.temporal.io/sdk/workflow"

// longCall is the present call of a long activity. Pausing a workflow interrupts it,
// and waits until it has drained.
type longCall struct {
	ended     int                 // calls so far
	interrupt workflow.CancelFunc // the present one; nil between calls
}

// begin returns the context of the next call.
func (c *longCall) begin(ctx workflow.Context, options workflow.ActivityOptions) workflow.Context {
	call, interrupt := workflow.WithCancel(workflow.WithActivityOptions(ctx, options))
	c.interrupt = interrupt
	return call
}

// end says that the call has ended.
func (c *longCall) end() { c.ended, c.interrupt = c.ended+1, nil }

// drain interrupts the present call, if there is one, and waits for its end. It
// counts calls, since the next one may have begun by the time it goes on.
func (c *longCall) drain(ctx workflow.Context) error {
	if c.interrupt == nil {
		return nil
	}
	c.interrupt()
	ended := c.ended
	return workflow.Await(ctx, func() bool { return c.ended > ended })
}
