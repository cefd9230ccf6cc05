package workflows

import (
	"errors"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities"
	"millrace/internal/control"
)

// shardMachine runs one long activity for a shard again and again, from checkpoint
// to checkpoint, until the shard is drained. ProcessShard and BackupShard are both
// one: they differ in the activity, and in what they learn from it.
type shardMachine struct {
	holds *holds

	drained func() bool
	call    func(workflow.Context) error // one call of the activity
	show    func(workflow.Context)       // brings up to date what operators see
	again   func(workflow.Context) error // hands over to the next run
	// idle waits instead of a call, and reports whether it has; nil: never.
	idle func(workflow.Context) bool

	long longCall
}

// run runs until the shard is drained, the workflow is canceled, or its history is
// long enough.
func (m *shardMachine) run(ctx workflow.Context) error {
	for !m.drained() && ctx.Err() == nil {
		switch {
		case workflow.GetInfo(ctx).GetContinueAsNewSuggested():
			if err := awaitHandlers(ctx); err != nil {
				return err
			}
			return m.again(ctx)
		case len(*m.holds) > 0:
			_ = m.holds.wait(ctx) // fails when the workflow is canceled, which the loop looks at
			m.show(ctx)
		case m.idle != nil && m.idle(ctx):
		default:
			if err := m.call(ctx); err != nil {
				return err
			}
		}
	}
	return awaitHandlers(ctx)
}

// apply applies a command. A pause is done when the present call has drained.
func (m *shardMachine) apply(ctx workflow.Context, name string, hold control.Hold) error {
	m.holds.apply(name, hold)
	if name == Pause {
		return m.long.drain(ctx)
	}
	return nil
}

// callShard makes one call of a shard's activity, and learns how far the shard is,
// however the call ended.
func callShard[In, Out, Progress any](
	ctx workflow.Context, m *shardMachine, options workflow.ActivityOptions, of activities.Type[In, Out], in In,
	ended func(Out), learn func(Progress),
) error {
	defer m.long.end()
	var result Out
	err := of.Execute(m.long.begin(ctx, options), in).Get(ctx, &result)
	if err == nil {
		ended(result)
		return nil
	}
	// It was canceled before a worker took it, or the worker died meanwhile.
	// What the last heartbeat said may have come with the error.
	var canceled *temporal.CanceledError
	var timeout *temporal.TimeoutError
	var last Progress
	switch {
	case errors.As(err, &timeout):
		if timeout.HasLastHeartbeatDetails() && timeout.LastHeartbeatDetails(&last) == nil {
			learn(last)
		}
		return nil
	case errors.As(err, &canceled):
		return nil
	case isReplaced(err, &last):
		learn(last)
	}
	return err
}
