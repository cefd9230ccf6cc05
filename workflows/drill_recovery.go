package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities"
	"millrace/activities/recovery"
)

// DrillInput is the input of DrillRecovery. Every field is optional: {} brings
// everything back.
type DrillInput struct {
	// Indices are names or patterns; all telemetry when empty.
	Indices []string `json:"indices,omitempty"`
	// NoSnapshot has everything come from the backup.
	NoSnapshot bool `json:"noSnapshot,omitempty"`
	// Rate is records a second; zero leaves Elasticsearch most of its time for
	// others. An operator changes it with setRate of the workflow Recover.
	Rate float64 `json:"rate,omitempty"`
	// Lanes, BackupWait and CallFor are those of RecoverInput.
	Lanes      int           `json:"lanes,omitempty"`
	BackupWait time.Duration `json:"backupWait,omitempty"`
	CallFor    time.Duration `json:"callFor,omitempty"`
	// Within is how long bringing it back may take; DefaultDrillWithin when
	// zero.
	Within time.Duration `json:"within,omitempty"`

	unknown unknown
}

// UnmarshalJSON implements json.Unmarshaler.
func (in *DrillInput) UnmarshalJSON(text []byte) error {
	type plain DrillInput
	return in.unknown.decode(text, (*plain)(in))
}

// Of DrillRecovery.
const (
	// DefaultDrillWithin is how long a drill may take: after that it is ended,
	// and has failed.
	DefaultDrillWithin = 24 * time.Hour

	// drillSettle is the time from the count of documents to the plan of the
	// recovery, which goes by the shards' checkpoints: ten times what these are
	// behind the documents.
	drillSettle = 10 * time.Second
)

// recovering is what is asked of Recover.
func (in DrillInput) recovery(suffix string) RecoverInput {
	return RecoverInput{
		RecoverRequest: recovery.RecoverRequest{Indices: in.Indices, NoSnapshot: in.NoSnapshot, Into: suffix},
		Rate:           in.Rate, Lanes: in.Lanes, BackupWait: in.BackupWait, CallFor: in.CallFor,
	}
}

// Validate reports what cannot be meant.
func (in DrillInput) Validate() error {
	err := in.recovery("drill").Validate()
	if in.Within < 0 {
		err = errors.Join(err, fmt.Errorf("within: %s is negative", in.Within))
	}
	return err
}

// DrillResult is what a drill has come to.
type DrillResult struct {
	Suffix   string                `json:"suffix"` // of the copies
	State    string                `json:"state"`
	Stage    string                `json:"stage"`
	Began    time.Time             `json:"began"`
	Ended    time.Time             `json:"ended,omitzero"`
	Complete bool                  `json:"complete"`
	Live     recovery.DrillBegun   `json:"live"`
	Snapshot string                `json:"snapshot,omitempty"`
	Restored int                   `json:"restored"` // indices
	Backfill recovery.SweepCounts  `json:"backfill,omitzero"`
	Verify   recovery.SweepCounts  `json:"verify,omitzero"`
	Fewer    recovery.DrillMissing `json:"fewer,omitzero"`     // documents in the copies than in the indices
	Missing  []recovery.Gap        `json:"missing,omitempty"`  // by the recovery
	Papers   string                `json:"papers,omitempty"`   // of the recovery, in the bucket
	Warnings []string              `json:"warnings,omitempty"` // of its plan
	Removed  int                   `json:"removed"`            // copies
	Error    string                `json:"error,omitempty"`
}

// Error types of a DrillRecovery that failed.
const (
	DrillIncomplete = "DrillIncomplete" // something did not come back
	DrillFailed     = "DrillFailed"     // it could not be done
)

// Stages of a drill.
const (
	drillCounting  = "counting"
	drillRunning   = "recovering"
	drillComparing = "comparing"
	drillRemoving  = "removing the copies"
)

// DrillRecovery brings everything back into copies of the indices, as Recover
// does after a disaster, holds the copies against the indices, and removes
// them. It fails when something is missing, so that an operator looks.
//
// Its id is DrillID, which is the lock: started under another one, as a
// schedule does, it runs as a child of that name. The recovery is a child with
// the id that each recovery has, so a drill and a recovery are not at once, and
// it is followed, paused, made slower and canceled as any other.
//
// Its history has about 40 events, whatever there is to be brought back.
func DrillRecovery(ctx workflow.Context, in DrillInput) (DrillResult, error) {
	if err := in.unknown.refuse(ctx); err != nil {
		return DrillResult{}, err
	}
	if err := in.Validate(); err != nil {
		return DrillResult{}, temporal.NewNonRetryableApplicationError("the input: "+err.Error(), recovery.InvalidRequest, nil)
	}
	if workflow.GetInfo(ctx).WorkflowExecution.ID != DrillID {
		return drillAsChild(ctx, in)
	}
	if in.Within == 0 {
		in.Within = DefaultDrillWithin
	}
	began := workflow.Now(ctx).UTC()
	d := &drill{in: in, call: recovery.DrillCall{Suffix: recovery.DrillSuffix(began), Began: began, Indices: in.Indices}}
	d.Suffix, d.Began = d.call.Suffix, began
	d.show(ctx, drillCounting)
	if err := workflow.SetQueryHandler(ctx, StatusQuery, func() (DrillResult, error) { return d.DrillResult, nil }); err != nil {
		return d.DrillResult, fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	return d.conclude(ctx, d.run(ctx))
}

// drillAsChild runs the drill under the id that is its lock.
func drillAsChild(ctx workflow.Context, in DrillInput) (result DrillResult, err error) {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: DrillID, TaskQueue: RecoverQueue, WaitForCancellation: true, StaticSummary: drillSummary,
		TypedSearchAttributes: temporal.NewSearchAttributes(Stage.ValueSet(drillStage)),
	})
	workflow.SetCurrentDetails(ctx, "### The drill runs as workflow `"+DrillID+"`: see there")
	err = workflow.ExecuteChildWorkflow(ctx, DrillRecovery, in).Get(ctx, &result)
	return result, taken(err, "a drill runs already, as workflow "+DrillID)
}

const (
	drillSummary = "recovery drill"
	drillStage   = "drill"
)

// taken says of a child that did not start that there is one.
func taken(err error, text string) error {
	var already *temporal.ChildWorkflowExecutionAlreadyStartedError
	if errors.As(err, &already) {
		return temporal.NewNonRetryableApplicationError(text, DrillFailed, nil)
	}
	return err
}

// drill is one run of DrillRecovery.
type drill struct {
	DrillResult
	in   DrillInput
	call recovery.DrillCall
}

func (d *drill) run(ctx workflow.Context) error {
	if err := drillStep(ctx, "count the documents", recovery.BeginDrill, d.call, &d.Live); err != nil {
		return err
	}
	if d.Live.Documents == 0 {
		return errors.New("there are no documents that could be held against what comes back")
	}
	if err := workflow.Sleep(ctx, drillSettle); err != nil {
		return err
	}
	d.show(ctx, drillRunning)
	if err := d.recover(ctx); err != nil {
		return err
	}
	d.show(ctx, drillComparing)
	return drillStep(ctx, "hold the copies against the indices", recovery.CompareDrill, d.call, &d.Fewer)
}

// recover runs the recovery, for as long as the drill may take.
func (d *drill) recover(ctx workflow.Context) error {
	child, cancel := workflow.WithCancel(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: RecoverID, TaskQueue: RecoverQueue, WaitForCancellation: true, StaticSummary: "recovery drill into …-" + d.Suffix,
		TypedSearchAttributes: temporal.NewSearchAttributes(Stage.ValueSet(recoverHolder)),
	}))
	defer cancel()
	running := workflow.ExecuteChildWorkflow(child, Recover, d.in.recovery(d.Suffix))
	inTime, err := workflow.AwaitWithTimeout(ctx, d.in.Within, running.IsReady)
	if err == nil && !inTime {
		cancel()
	}
	// Also when the drill is canceled: what writes into the copies must have ended.
	waiting, done := workflow.NewDisconnectedContext(ctx)
	defer done()
	var result recovery.RecoverResult
	switch ended := running.Get(waiting, &result); {
	case err != nil:
		return err
	case !inTime:
		return fmt.Errorf("it was not done within %s", d.in.Within)
	case ended != nil:
		return taken(ended, "a recovery runs, as workflow "+RecoverID+": the drill is for another time")
	}
	d.Complete = result.Complete
	d.Snapshot, d.Restored, d.Backfill, d.Verify = result.Plan.Snapshot, max(result.Indices, len(result.Restored)), result.Backfill, result.Verify
	d.Missing, d.Papers, d.Warnings = result.Missing, result.Papers, result.Plan.Warnings
	return nil
}

// drillStep runs an activity of a drill.
func drillStep[In, Out any](ctx workflow.Context, summary string, step activities.Type[In, Out], in In, result *Out) error {
	options := drillOptions
	options.Summary = summary
	if err := step.Execute(workflow.WithActivityOptions(ctx, options), in).Get(ctx, result); err != nil {
		return fmt.Errorf("%s: %w", summary, err)
	}
	return nil
}

// conclude removes the copies, however it went, and says how.
func (d *drill) conclude(ctx workflow.Context, failed error) (DrillResult, error) {
	d.Complete = failed == nil && d.Complete && d.Fewer.Indices == 0
	end := recovery.DrillEnd{DrillCall: d.call, End: recovery.DrillComplete}
	switch {
	case failed != nil:
		end.End, d.Error = recovery.DrillFailed, reason(failed)
	case !d.Complete:
		end.End, d.Error = recovery.DrillIncomplete, d.lacking()
	}
	removing, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	d.show(removing, drillRemoving)
	if err := drillStep(removing, "remove the copies", recovery.EndDrill, end, &d.Removed); err != nil {
		return d.DrillResult, err
	}
	d.Ended = workflow.Now(ctx).UTC()
	switch {
	case failed == nil && d.Complete:
		d.finish(removing, StateDone)
		return d.DrillResult, nil
	case ctx.Err() != nil:
		d.Error = "canceled"
		d.finish(removing, stateFailed)
		return d.DrillResult, temporal.NewCanceledError(d.DrillResult)
	}
	d.finish(removing, stateFailed)
	kind := DrillFailed
	if failed == nil {
		kind = DrillIncomplete
	}
	return d.DrillResult, temporal.NewNonRetryableApplicationError(d.Error, kind, nil, d.DrillResult)
}

// reason is what there is to say about a failure, without what Temporal adds.
func reason(err error) string {
	var application *temporal.ApplicationError
	if errors.As(err, &application) {
		return application.Message()
	}
	return err.Error()
}

// drillOptions have time to count and to delete thousands of indices.
var drillOptions = workflow.ActivityOptions{
	TaskQueue: RecoverQueue, StartToCloseTimeout: time.Hour, HeartbeatTimeout: time.Minute, RetryPolicy: forEver,
}
