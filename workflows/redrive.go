package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/redrive"
	"millrace/internal/control"
)

// RedriveInput is the input of Redrive. All but the queue is optional, or what
// a run hands over to the next.
type RedriveInput struct {
	Queue  string         `json:"queue"`
	Counts redrive.Counts `json:"counts,omitzero"`
	Holds  holds          `json:"holds,omitempty"`
	// CallFor is how long one call of RedriveMessages takes; DefaultCallFor
	// when zero.
	CallFor time.Duration `json:"callFor,omitempty"`

	unknown unknown
}

// UnmarshalJSON implements json.Unmarshaler.
func (in *RedriveInput) UnmarshalJSON(text []byte) error {
	type plain RedriveInput
	return in.unknown.decode(text, (*plain)(in))
}

// RedriveStatus is what Redrive answers to the query status. The figures are
// those of the last call of RedriveMessages that ended.
type RedriveStatus struct {
	Queue     string         `json:"queue"`
	State     string         `json:"state"`
	Counts    redrive.Counts `json:"counts"`
	Pace      float64        `json:"pace,omitempty"` // records a second, while the stream throttles
	Worker    string         `json:"worker,omitempty"`
	LastError string         `json:"lastError,omitempty"`
	Holds     []control.Hold `json:"holds,omitempty"`
}

// redriving is one run of Redrive.
type redriving struct {
	in     RedriveInput
	status RedriveStatus
	call   longCall // of RedriveMessages
}

// Redrive moves what is in the fallback queue into the stream, for as long as
// it runs. Canceling it stops that; the rest stays in the queue.
func Redrive(ctx workflow.Context, in RedriveInput) error {
	if err := in.unknown.refuse(ctx); err != nil {
		return err
	}
	r := &redriving{in: in}
	if r.in.CallFor <= 0 {
		r.in.CallFor = DefaultCallFor
	}
	r.status = RedriveStatus{Queue: in.Queue, Counts: in.Counts}
	r.show(ctx)
	answer := func() (RedriveStatus, error) { return r.status, nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, answer); err != nil {
		return fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	if err := onCommand(ctx, r.command); err != nil {
		return err
	}
	return r.run(ctx)
}

func (r *redriving) run(ctx workflow.Context) error {
	for ctx.Err() == nil {
		switch {
		case workflow.GetInfo(ctx).GetContinueAsNewSuggested():
			if err := awaitHandlers(ctx); err != nil {
				return err
			}
			r.in.Holds.applySignals(ctx)
			r.in.Counts = r.status.Counts
			return workflow.NewContinueAsNewError(ctx, Redrive, r.in)
		case len(r.in.Holds) > 0:
			_ = r.in.Holds.wait(ctx) // fails when the workflow is canceled, which the loop looks at
			r.show(ctx)
		default:
			if err := r.redrive(ctx); err != nil {
				return err
			}
		}
	}
	if err := awaitHandlers(ctx); err != nil {
		return err
	}
	return temporal.NewCanceledError(r.status)
}

// redrive runs one call of RedriveMessages.
func (r *redriving) redrive(ctx workflow.Context) error {
	call := r.call.begin(ctx, redriveOptions(r.in.CallFor))
	defer r.call.end()
	var progress redrive.Progress
	err := redrive.RedriveMessages.Execute(call, redrive.Call{
		Queue: r.in.Queue, Counts: r.status.Counts, For: r.in.CallFor,
	}).Get(ctx, &progress)
	if temporal.IsCanceledError(err) { // before a worker took it
		return nil
	}
	if err != nil {
		return fmt.Errorf("redrive queue %s: %w", r.in.Queue, err)
	}
	if progress.Worker == "" && ignore(ctx, string(redrive.RedriveMessages)) {
		return nil
	}
	r.status.Counts, r.status.Pace = progress.Counts, progress.Pace
	r.status.Worker, r.status.LastError = progress.Worker, progress.LastError
	r.show(ctx)
	return nil
}

// command pauses or resumes. A pause is done when nothing is held any more.
func (r *redriving) command(ctx workflow.Context, name string, hold control.Hold) (any, error) {
	r.in.Holds.apply(name, hold)
	if name == Pause {
		if err := r.call.drain(ctx); err != nil {
			return nil, err
		}
	}
	r.show(ctx)
	return r.status, nil
}

// show brings up to date what operators see.
func (r *redriving) show(ctx workflow.Context) {
	state := control.StateRunning
	if len(r.in.Holds) > 0 {
		state = control.StatePaused
	}
	r.status.Holds = r.in.Holds
	setState(ctx, &r.status.State, state)
	workflow.SetCurrentDetails(ctx, r.status.Markdown())
}
