package workflows

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/audit"
	"millrace/internal/control"
)

// AuditInput is the input of AuditBackup. Every field is optional: {} samples the last
// hour.
type AuditInput struct {
	audit.Request

	unknown unknown
}

// UnmarshalJSON implements json.Unmarshaler.
func (in *AuditInput) UnmarshalJSON(text []byte) error {
	type plain AuditInput
	return in.unknown.decode(text, (*plain)(in))
}

// AuditStatus is what AuditBackup answers to the query status, and its result.
type AuditStatus struct {
	State    string    `json:"state"`
	Began    time.Time `json:"began"`
	Finished time.Time `json:"finished,omitzero"`
	Since    time.Time `json:"since"` // objects from this hour on
	audit.Counts
	Left int64 `json:"left"` // objects of the sample that were not checked, because of a limit
	// Skipped says why nothing was checked.
	Skipped   string          `json:"skipped,omitempty"`
	Examples  []audit.Missing `json:"examples,omitempty"`
	Holds     []control.Hold  `json:"holds,omitempty"`
	LastError string          `json:"lastError,omitempty"`
}

// Merge brings the status up to date by a heartbeat of AuditObjects.
func (s *AuditStatus) Merge(p audit.Progress) {
	s.Add(p.Counts)
	s.LastError = p.LastError
}

// PauseBy enters that an operator has paused AuditObjects in Temporal.
func (s *AuditStatus) PauseBy(hold control.Hold) {
	s.State, s.Holds = control.StatePaused, append(s.Holds, hold)
}

// RecordsMissing is the error type of an AuditBackup that found the residual to be more
// than zero.
const RecordsMissing = "RecordsMissing"

const auditSummary = "audit of the backup"

// AuditBackup looks for records of the backup in index, ledger and open batches, and fails
// if one that its shard's checkpoint has passed is in none of them: a record is lost, and
// an operator has to look. It changes nothing.
//
// Its id is AuditID, which is the lock: started under another one, as a schedule does, it
// runs as a child of that name.
//
// Its history has about 15 events, and six more for each hundred objects: 6,000 events for
// the 100,000 objects that a run has at the most.
func AuditBackup(ctx workflow.Context, in AuditInput) (AuditStatus, error) {
	if err := in.unknown.refuse(ctx); err != nil {
		return AuditStatus{}, err
	}
	if err := in.Validate(); err != nil {
		return AuditStatus{}, temporal.NewNonRetryableApplicationError("the input: "+err.Error(), InvalidInput, nil)
	}
	if workflow.GetInfo(ctx).WorkflowExecution.ID != AuditID {
		return auditAsChild(ctx, in)
	}
	a := newAuditing(ctx, in)
	if err := workflow.SetQueryHandler(ctx, StatusQuery, func() (AuditStatus, error) { return a.AuditStatus, nil }); err != nil {
		return a.AuditStatus, fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	return a.conclude(ctx, a.run(ctx))
}

// auditAsChild runs the audit under the id that is its lock.
func auditAsChild(ctx workflow.Context, in AuditInput) (result AuditStatus, err error) {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: AuditID, TaskQueue: RecoverQueue, WaitForCancellation: true, StaticSummary: auditSummary,
		TypedSearchAttributes: temporal.NewSearchAttributes(Stage.ValueSet(AuditStage)),
	})
	workflow.SetCurrentDetails(ctx, "### The audit runs as workflow `"+AuditID+"`: see there")
	err = workflow.ExecuteChildWorkflow(ctx, AuditBackup, in).Get(ctx, &result)
	var already *temporal.ChildWorkflowExecutionAlreadyStartedError
	if errors.As(err, &already) {
		return AuditStatus{State: StateDone, Skipped: "an audit runs already, as workflow " + AuditID}, nil
	}
	return result, err
}

// auditing is one run of AuditBackup.
type auditing struct {
	AuditStatus
	call audit.Call
}

func newAuditing(ctx workflow.Context, in AuditInput) *auditing {
	began := workflow.Now(ctx).UTC()
	a := &auditing{call: audit.Call{Request: in.WithDefaults(began), Run: workflow.GetInfo(ctx).WorkflowExecution.RunID, Start: began}}
	a.Began, a.Since = began, a.call.Request.Since
	a.show(ctx, control.StateRunning)
	return a
}

// run checks objects until all that were chosen, or a limit, is reached.
func (a *auditing) run(ctx workflow.Context) error {
	limits := a.call.Request
	for done := false; !done; {
		var p audit.Progress
		if err := audit.AuditObjects.Execute(workflow.WithActivityOptions(ctx, auditOptions), a.call).Get(ctx, &p); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if p.Worker == "" {
			workflow.GetLogger(ctx).Warn("ignoring a result that is not of this call: it was completed by hand", "activity", string(audit.AuditObjects))
			continue
		}
		a.Add(p.Counts)
		a.Left, a.Skipped = p.Left, p.Skipped
		a.Examples = append(a.Examples, p.Examples[:min(len(p.Examples), audit.MostExamples-len(a.Examples))]...)
		a.call.After, a.call.Found, done = p.After, a.Missing, p.Done
		a.call.Request.Objects = limits.Objects - a.Objects
		a.call.Request.Bytes = limits.Bytes - a.Bytes
		a.call.Request.Records = limits.Records - a.Checked
		a.show(ctx, control.StateRunning)
	}
	return nil
}

// conclude shows the end, and fails where records are missing.
func (a *auditing) conclude(ctx workflow.Context, failed error) (AuditStatus, error) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	a.Finished = workflow.Now(ctx).UTC()
	switch {
	case failed != nil:
		a.show(ctx, stateFailed)
		return a.AuditStatus, failed
	case a.Missing == 0:
		a.show(ctx, StateDone)
		return a.AuditStatus, nil
	}
	a.show(ctx, stateFailed)
	text := fmt.Sprintf("%d of %d records are in neither index nor ledger nor an open batch", a.Missing, a.Checked)
	for _, one := range a.Examples[:min(len(a.Examples), mostNamed)] {
		text += "; " + one.String()
	}
	return a.AuditStatus, temporal.NewNonRetryableApplicationError(text, RecordsMissing, nil, a.AuditStatus)
}

func (a *auditing) show(ctx workflow.Context, state string) {
	setState(ctx, &a.State, state)
	workflow.SetCurrentDetails(ctx, a.Markdown())
}

// Markdown shows the status in the Temporal UI.
func (s AuditStatus) Markdown() string {
	var t table
	t.row("State", s.State)
	t.row("Skipped", s.Skipped)
	t.row("Objects", fmt.Sprintf("%d of those since %s", s.Objects, s.Since.UTC().Format(time.RFC3339)))
	if s.Left+s.Unknown+s.Damaged > 0 {
		t.row("Not checked", fmt.Sprintf("%d objects because of a limit, %d whose shard's checkpoint is not known, and the rest of %d that are damaged",
			s.Left, s.Unknown, s.Damaged))
	}
	t.row("Records", fmt.Sprintf("%d, of them %d indexed, %d in the ledger, %d held by a ProcessBatch", s.Checked, s.Indexed, s.Dead, s.Held))
	t.row("Missing", fmt.Sprintf("%d", s.Missing))
	for _, one := range s.Examples {
		t.row("Such as", one.String())
	}
	return "### Audit of the backup of " + s.Began.UTC().Format(time.RFC3339) + "\n\n" + t.String()
}

// auditOptions leave time for a hundred objects of a shard that is at its limit, five
// minutes each, at the default rate.
var auditOptions = workflow.ActivityOptions{
	TaskQueue: RecoverQueue, StartToCloseTimeout: 24 * time.Hour, HeartbeatTimeout: TakeoverAfter,
	WaitForCancellation: true, RetryPolicy: forEver, Summary: "look for records of the backup",
}
