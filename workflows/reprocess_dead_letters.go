package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/deadletters"
	"millrace/internal/control"
	"millrace/internal/ledger"
)

// ReprocessInput is the input of ReprocessDeadLetters. All but the stream is
// optional, or what a run hands over to the next.
type ReprocessInput struct {
	Stream string `json:"stream"`
	// Select chooses the records; without it, all that are open.
	Select ledger.Selection `json:"select,omitzero"`
	// Mode is ingest (the default: through the stream, as all others) or direct
	// (into the index).
	Mode string `json:"mode,omitempty"`
	// DryRun says what would be done, and does nothing.
	DryRun bool `json:"dryRun,omitempty"`
	// Queue is the dead-letter queue: what it reports is taken into the ledger
	// first.
	Queue string `json:"queue,omitempty"`
	// By is who wants it; Operator when empty.
	By string `json:"by,omitempty"`
	// SettleFor is how long nothing may be seen of records that were ingested
	// again; DefaultSettleFor when zero.
	SettleFor time.Duration `json:"settleFor,omitempty"`
	// CallFor is how long one call of ReprocessEntries takes; DefaultCallFor
	// when zero.
	CallFor  time.Duration                 `json:"callFor,omitempty"`
	Holds    holds                         `json:"holds,omitempty"`
	Started  time.Time                     `json:"started,omitzero"`
	Kept     bool                          `json:"kept,omitempty"` // the queue has been looked into
	Progress deadletters.ReprocessProgress `json:"progress,omitzero"`

	unknown unknown
}

// UnmarshalJSON implements json.Unmarshaler.
func (in *ReprocessInput) UnmarshalJSON(text []byte) error {
	type plain ReprocessInput
	return in.unknown.decode(text, (*plain)(in))
}

// InvalidInput is the type of the error for an input that cannot be meant.
const InvalidInput = "InvalidInput"

// Validate reports an input that cannot be meant.
func (in ReprocessInput) Validate() error {
	var errs []error
	if in.Stream == "" {
		errs = append(errs, errors.New("the input needs a stream: the name of the one into which records go"))
	}
	if in.Mode != "" && in.Mode != deadletters.ModeIngest && in.Mode != deadletters.ModeDirect {
		errs = append(errs, fmt.Errorf("mode %q: give %s or %s", in.Mode, deadletters.ModeIngest, deadletters.ModeDirect))
	}
	if in.SettleFor < 0 || in.CallFor < 0 {
		errs = append(errs, errors.New("settleFor, callFor: a time is negative"))
	}
	return errors.Join(append(errs, in.withDefaults().Select.Validate())...)
}

func (in ReprocessInput) withDefaults() ReprocessInput {
	if in.Select.Stream == "" {
		in.Select.Stream = in.Stream
	}
	if in.Mode == "" {
		in.Mode = deadletters.ModeIngest
	}
	if in.By == "" {
		in.By = Operator
	}
	if in.SettleFor == 0 {
		in.SettleFor = DefaultSettleFor
	}
	if in.CallFor == 0 {
		in.CallFor = DefaultCallFor
	}
	return in
}

// ReprocessStatus is what ReprocessDeadLetters answers to the query status, and
// its result. The figures are those of the last call of ReprocessEntries that
// ended.
type ReprocessStatus struct {
	Stream  string                        `json:"stream"`
	State   string                        `json:"state"`
	Select  ledger.Selection              `json:"select"`
	Mode    string                        `json:"mode"`
	DryRun  bool                          `json:"dryRun,omitempty"`
	By      string                        `json:"by"`
	Started time.Time                     `json:"started"`
	Done    deadletters.ReprocessProgress `json:"progress"`
	Holds   []control.Hold                `json:"holds,omitempty"`
}

// States in which ReprocessDeadLetters ends; others end as StateDone, too.
const (
	StateDone    = "done"    // all of the selection was looked at
	StateStopped = "stopped" // it went no further: see progress.stopped
)

// reprocess is one run of ReprocessDeadLetters.
type reprocess struct {
	in    ReprocessInput
	state string
	call  longCall // of ReprocessEntries
}

// ReprocessDeadLetters brings records home that were given up, once what was
// wrong with them, or with the index, is mended: into the stream again, or into
// the index. An entry of the ledger is resolved when each of its records has
// ended well; what is refused again stays, with its new error; what is found
// nowhere stays, and is listed. There is one of it for a stream.
//
// The records are worked on in ReprocessEntries, many entries a call, of which
// each costs six events: 100,000 entries at 50 a second are 7 calls of 5
// minutes, 42 events. What it hands over between calls is bounded: a cursor,
// counts, 20 errors and 50 keys, 20 KiB in all. It continues as new.
func ReprocessDeadLetters(ctx workflow.Context, in ReprocessInput) (ReprocessStatus, error) {
	if err := in.unknown.refuse(ctx); err != nil {
		return ReprocessStatus{}, err
	}
	r := &reprocess{in: in.withDefaults()}
	if r.in.Started.IsZero() {
		r.in.Started = workflow.Now(ctx).UTC()
	}
	if err := in.Validate(); err != nil {
		return r.status(), temporal.NewNonRetryableApplicationError(err.Error(), InvalidInput, nil)
	}
	r.show(ctx)
	answer := func() (ReprocessStatus, error) { return r.status(), nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, answer); err != nil {
		return r.status(), fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	if err := onCommand(ctx, r.command); err != nil {
		return r.status(), err
	}
	return r.run(ctx)
}

func (r *reprocess) run(ctx workflow.Context) (ReprocessStatus, error) {
	for ctx.Err() == nil && !r.ended() {
		switch {
		case workflow.GetInfo(ctx).GetContinueAsNewSuggested():
			if err := awaitHandlers(ctx); err != nil {
				return r.status(), err
			}
			r.in.Holds.applySignals(ctx)
			return r.status(), workflow.NewContinueAsNewError(ctx, ReprocessDeadLetters, r.in)
		case len(r.in.Holds) > 0:
			_ = r.in.Holds.wait(ctx) // fails when the workflow is canceled, which the loop looks at
		case !r.in.Kept && !r.in.DryRun && r.in.Queue != "":
			r.keep(ctx)
		default:
			if err := r.reprocess(ctx); err != nil {
				return r.status(), err
			}
		}
		r.show(ctx)
	}
	if err := awaitHandlers(ctx); err != nil {
		return r.status(), err
	}
	r.show(ctx)
	if !r.ended() {
		return r.status(), temporal.NewCanceledError(r.status())
	}
	return r.status(), nil
}

func (r *reprocess) ended() bool { return r.in.Progress.Done || r.in.Progress.Stopped != "" }

// keep has the dead-letter queue read. That it cannot be is no reason not to
// reprocess what the ledger has.
func (r *reprocess) keep(ctx workflow.Context) {
	var progress deadletters.KeepProgress
	err := deadletters.KeepLetters.Execute(workflow.WithActivityOptions(ctx, keepFirstOptions), deadletters.KeepCall{
		Queue: r.in.Queue, For: keepFirstFor, UntilEmpty: true,
	}).Get(ctx, &progress)
	if err != nil && ctx.Err() == nil {
		workflow.GetLogger(ctx).Warn("could not read the dead-letter queue before reprocessing", "queue", r.in.Queue, "error", err)
	}
	r.in.Kept = true
}

// reprocess runs one call of ReprocessEntries.
func (r *reprocess) reprocess(ctx workflow.Context) error {
	call := r.call.begin(ctx, reprocessOptions)
	defer r.call.end()
	var progress deadletters.ReprocessProgress
	err := deadletters.ReprocessEntries.Execute(call, deadletters.ReprocessCall{
		Stream: r.in.Stream, Select: r.in.Select, Mode: r.in.Mode, DryRun: r.in.DryRun, Run: workflow.GetInfo(ctx).FirstRunID,
		Settle: r.in.SettleFor, For: r.in.CallFor, Progress: r.in.Progress,
	}).Get(ctx, &progress)
	if temporal.IsCanceledError(err) { // before a worker took it
		return nil
	}
	if err != nil {
		return fmt.Errorf("reprocess dead letters of %s: %w", r.in.Stream, err)
	}
	if progress.Worker == "" && ignore(ctx, string(deadletters.ReprocessEntries)) {
		return nil
	}
	r.in.Progress = progress
	return nil
}

// command pauses or resumes. A pause is done when nothing is under way.
func (r *reprocess) command(ctx workflow.Context, name string, hold control.Hold) (any, error) {
	r.in.Holds.apply(name, hold)
	if name == Pause {
		if err := r.call.drain(ctx); err != nil {
			return nil, err
		}
	}
	r.show(ctx)
	return r.status(), nil
}

func (r *reprocess) status() ReprocessStatus {
	return ReprocessStatus{
		Stream: r.in.Stream, State: r.state, Select: r.in.Select, Mode: r.in.Mode, DryRun: r.in.DryRun,
		By: r.in.By, Started: r.in.Started, Done: r.in.Progress, Holds: r.in.Holds,
	}
}

// show brings up to date what operators see.
func (r *reprocess) show(ctx workflow.Context) {
	state := control.StateRunning
	switch {
	case r.in.Progress.Stopped != "":
		state = StateStopped
	case r.in.Progress.Done:
		state = StateDone
	case len(r.in.Holds) > 0:
		state = control.StatePaused
	}
	setState(ctx, &r.state, state)
	workflow.SetCurrentDetails(ctx, r.status().Markdown())
}
