package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/deadletters"
	"millrace/internal/control"
)

// Parked is the signal that there is more to bring home. It comes with the start,
// too.
const Parked = "parked"

// DrainInput is the input of DrainIndex. All but stream and index is what a run
// hands over to the next.
type DrainInput struct {
	Stream string                      `json:"stream"`
	Index  string                      `json:"index"`
	Counts deadletters.ReprocessCounts `json:"counts,omitzero"`
	Probes int                         `json:"probes,omitempty"` // in a row that found the index out of service
	Holds  holds                       `json:"holds,omitempty"`
	// CallFor is how long one call of DrainParked takes; DefaultCallFor when zero.
	CallFor time.Duration `json:"callFor,omitempty"`
}

// DrainStatus is what DrainIndex answers to the query status, and its result. The
// figures are those of the last call of DrainParked that ended.
type DrainStatus struct {
	Stream    string                      `json:"stream"`
	Index     string                      `json:"index"`
	State     string                      `json:"state"`
	Counts    deadletters.ReprocessCounts `json:"counts"`
	Worker    string                      `json:"worker,omitempty"`
	LastError string                      `json:"lastError,omitempty"`
	Holds     []control.Hold              `json:"holds,omitempty"`
}

// drain is one run of DrainIndex.
type drain struct {
	in     DrainInput
	status DrainStatus
	more   int      // signals that something was parked, since the last call began
	call   longCall // of DrainParked
}

// DrainIndex brings home what is parked for an index that alone was out of
// service: it tries again and again whether the index takes writes, ever more
// rarely, and writes all of it once it does. It ends when nothing is parked any
// more. Canceled, it leaves the rest in the ledger, where an operator may reprocess
// it, until something is parked again.
//
// Its history grows by six events for each call, of at least a quarter of a minute,
// and by one for each ledger entry; it continues as new.
func DrainIndex(ctx workflow.Context, in DrainInput) (DrainStatus, error) {
	if in.Stream == "" || in.Index == "" {
		return DrainStatus{}, temporal.NewNonRetryableApplicationError("the input needs a stream and an index", InvalidInput, nil)
	}
	d := &drain{in: in, status: DrainStatus{Stream: in.Stream, Index: in.Index, Counts: in.Counts}}
	if d.in.CallFor <= 0 {
		d.in.CallFor = DefaultCallFor
	}
	d.show(ctx)
	answer := func() (DrainStatus, error) { return d.status, nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, answer); err != nil {
		return d.status, fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	if err := onCommand(ctx, d.command); err != nil {
		return d.status, err
	}
	return d.run(ctx)
}

func (d *drain) run(ctx workflow.Context) (DrainStatus, error) {
	for ctx.Err() == nil {
		switch {
		case workflow.GetInfo(ctx).GetContinueAsNewSuggested():
			if err := awaitHandlers(ctx); err != nil {
				return d.status, err
			}
			d.receive(ctx)
			d.in.Holds.applySignals(ctx)
			d.in.Counts = d.status.Counts
			return d.status, workflow.NewContinueAsNewError(ctx, DrainIndex, d.in)
		case len(d.in.Holds) > 0:
			_ = d.in.Holds.wait(ctx) // fails when the workflow is canceled, which the loop looks at
			d.show(ctx)
		default:
			done, err := d.bringHome(ctx)
			if err != nil {
				return d.status, err
			}
			// A signal that came since the call began announces an entry that it may
			// not have seen.
			if d.receive(ctx); done && d.more == 0 && len(d.in.Holds) == 0 {
				if err := awaitHandlers(ctx); err != nil {
					return d.status, err
				}
				setState(ctx, &d.status.State, StateDone)
				workflow.SetCurrentDetails(ctx, d.status.Markdown())
				return d.status, nil
			}
		}
	}
	if err := awaitHandlers(ctx); err != nil {
		return d.status, err
	}
	return d.status, temporal.NewCanceledError(d.status)
}

// receive takes the signals that something was parked.
func (d *drain) receive(ctx workflow.Context) {
	var nothing any
	for signals := workflow.GetSignalChannel(ctx, Parked); signals.ReceiveAsync(&nothing); {
		d.more++
	}
}

// bringHome runs one call of DrainParked, and waits after it while the index is
// out of service.
func (d *drain) bringHome(ctx workflow.Context) (done bool, err error) {
	d.receive(ctx)
	d.more = 0
	call := d.call.begin(ctx, drainOptions(d.in.CallFor))
	var result deadletters.DrainResult
	err = deadletters.DrainParked.Execute(call, deadletters.DrainCall{
		Stream: d.in.Stream, Index: d.in.Index, Run: workflow.GetInfo(ctx).WorkflowExecution.RunID,
		For: d.in.CallFor, Counts: d.status.Counts,
	}).Get(ctx, &result)
	d.call.end()
	if temporal.IsCanceledError(err) { // before a worker took it
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("bring home what is parked for %s: %w", d.in.Index, err)
	}
	if result.Worker == "" && ignore(ctx, string(deadletters.DrainParked)) {
		return false, nil
	}
	d.status.Counts, d.status.Worker, d.status.LastError = result.Counts, result.Worker, result.LastError
	wait := firstProbe << min(d.in.Probes, 16)
	if d.in.Probes++; !result.Out {
		d.in.Probes = 0
	}
	d.show(ctx)
	if result.Out && ctx.Err() == nil {
		// Until the next probe, or an operator pauses it. That it is canceled the
		// loop looks at.
		_, _ = workflow.AwaitWithTimeout(ctx, min(wait, longestProbe), func() bool { return len(d.in.Holds) > 0 })
	}
	return result.Done, nil
}

// command pauses or resumes. A pause is done when nothing is in flight any more.
func (d *drain) command(ctx workflow.Context, name string, hold control.Hold) (any, error) {
	d.in.Holds.apply(name, hold)
	if name == Pause {
		if err := d.call.drain(ctx); err != nil {
			return nil, err
		}
	}
	d.show(ctx)
	return d.status, nil
}

// show brings up to date what operators see.
func (d *drain) show(ctx workflow.Context) {
	state := control.StateRunning
	switch {
	case len(d.in.Holds) > 0:
		state = control.StatePaused
	case d.in.Probes > 0:
		state = control.StateWaiting
	}
	d.status.Holds = d.in.Holds
	setState(ctx, &d.status.State, state)
	workflow.SetCurrentDetails(ctx, d.status.Markdown())
}

// Markdown shows the status in the Temporal UI.
func (s DrainStatus) Markdown() string {
	var t table
	t.row("State", s.State)
	for _, hold := range s.Holds {
		t.row("Paused by", describe(hold))
	}
	t.row("Records", fmt.Sprintf("%d came home, %d were there, %d were refused and stay in the ledger", s.Counts.Indexed, s.Counts.Already, s.Counts.Refused))
	t.row("Entries", fmt.Sprintf("%d resolved", s.Counts.Resolved))
	t.row("Worker", s.Worker)
	t.row("Last error", s.LastError)
	return "### Parked for " + s.Index + "\n\n" + t.String()
}
