package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/deadletters"
	"millrace/internal/control"
)

// KeepInput is the input of KeepDeadLetters. All but the queue is optional, or
// what a run hands over to the next.
type KeepInput struct {
	Queue      string                         `json:"queue"`
	Counts     deadletters.KeepCounts         `json:"counts,omitzero"`
	Unreadable []deadletters.UnreadableLetter `json:"unreadable,omitempty"`
	Holds      holds                          `json:"holds,omitempty"`
	// CallFor is how long one call of KeepLetters takes; DefaultCallFor when
	// zero.
	CallFor time.Duration `json:"callFor,omitempty"`

	unknown unknown
}

// UnmarshalJSON implements json.Unmarshaler.
func (in *KeepInput) UnmarshalJSON(text []byte) error {
	type plain KeepInput
	return in.unknown.decode(text, (*plain)(in))
}

// KeepStatus is what KeepDeadLetters answers to the query status. The figures
// are those of the last call of KeepLetters that ended.
type KeepStatus struct {
	Queue string `json:"queue"`
	State string `json:"state"`
	deadletters.KeepProgress
	Holds []control.Hold `json:"holds,omitempty"`
}

// keeping is one run of KeepDeadLetters.
type keeping struct {
	in     KeepInput
	status KeepStatus
	call   longCall // of KeepLetters
}

// KeepDeadLetters takes what the dead-letter queue reports into the ledger,
// where it is not there yet, and empties the queue, for as long as it runs:
// messages of AWS Lambda that point at records of the stream, above all. What
// cannot be read stays in the queue. Canceling it stops that.
//
// Its history grows by six events for each call of KeepLetters, that is 1,728 a
// day, and by some for each pause; it continues as new.
func KeepDeadLetters(ctx workflow.Context, in KeepInput) error {
	if err := in.unknown.refuse(ctx); err != nil {
		return err
	}
	if in.Queue == "" {
		return temporal.NewNonRetryableApplicationError("the input needs a queue: the name of the dead-letter queue", InvalidInput, nil)
	}
	k := &keeping{in: in}
	if k.in.CallFor <= 0 {
		k.in.CallFor = DefaultCallFor
	}
	k.status = KeepStatus{Queue: in.Queue, KeepProgress: deadletters.KeepProgress{Counts: in.Counts, Unreadable: in.Unreadable, Stay: len(in.Unreadable)}}
	k.show(ctx)
	answer := func() (KeepStatus, error) { return k.status, nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, answer); err != nil {
		return fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	if err := onCommand(ctx, k.command); err != nil {
		return err
	}
	return k.run(ctx)
}

func (k *keeping) run(ctx workflow.Context) error {
	for ctx.Err() == nil {
		switch {
		case workflow.GetInfo(ctx).GetContinueAsNewSuggested():
			if err := awaitHandlers(ctx); err != nil {
				return err
			}
			k.in.Holds.applySignals(ctx)
			k.in.Counts, k.in.Unreadable = k.status.Counts, k.status.Unreadable
			return workflow.NewContinueAsNewError(ctx, KeepDeadLetters, k.in)
		case len(k.in.Holds) > 0:
			_ = k.in.Holds.wait(ctx) // fails when the workflow is canceled, which the loop looks at
			k.show(ctx)
		default:
			if err := k.keep(ctx); err != nil {
				return err
			}
		}
	}
	if err := awaitHandlers(ctx); err != nil {
		return err
	}
	return temporal.NewCanceledError(k.status)
}

// keep runs one call of KeepLetters.
func (k *keeping) keep(ctx workflow.Context) error {
	call := k.call.begin(ctx, keepOptions(k.in.CallFor))
	defer k.call.end()
	var progress deadletters.KeepProgress
	err := deadletters.KeepLetters.Execute(call, deadletters.KeepCall{
		Queue: k.in.Queue, For: k.in.CallFor, Counts: k.status.Counts, Unreadable: k.status.Unreadable,
	}).Get(ctx, &progress)
	if temporal.IsCanceledError(err) { // before a worker took it
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep the letters of queue %s: %w", k.in.Queue, err)
	}
	if progress.Worker == "" && ignore(ctx, string(deadletters.KeepLetters)) {
		return nil
	}
	k.status.KeepProgress = progress
	k.show(ctx)
	return nil
}

// command pauses or resumes. A pause is done when nothing is held any more.
func (k *keeping) command(ctx workflow.Context, name string, hold control.Hold) (any, error) {
	k.in.Holds.apply(name, hold)
	if name == Pause {
		if err := k.call.drain(ctx); err != nil {
			return nil, err
		}
	}
	k.show(ctx)
	return k.status, nil
}

// show brings up to date what operators see.
func (k *keeping) show(ctx workflow.Context) {
	state := control.StateRunning
	if len(k.in.Holds) > 0 {
		state = control.StatePaused
	}
	k.status.Holds = k.in.Holds
	setState(ctx, &k.status.State, state)
	workflow.SetCurrentDetails(ctx, k.status.Markdown())
}
