package launch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/supervise"
	"millrace/internal/control"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// Launcher starts and steers workflows for activities, which do not know them.
type Launcher struct {
	Client client.Client
	// Limits are those of each ProcessBatch that it starts; the defaults where
	// they are zero.
	Limits workflows.BatchLimits
}

// StartBatch starts the ProcessBatch of a range. One that runs already is
// joined; one that has ended is run again, which does no harm to records that
// are indexed.
func (l Launcher) StartBatch(ctx context.Context, stream telemetry.StreamID, r telemetry.Range, cause outcome.Error, copyAt time.Time) error {
	return l.start(ctx, workflows.ProcessQueue, workflows.ProcessBatchID(stream.Name, r), "batch", r.Shard, "range "+r.String(),
		workflows.ProcessBatch, workflows.BatchInput{
			Stream: stream, Range: r, Cause: cause, CopyAt: copyAt, MaxAttempts: l.Limits.Attempts, MaxAge: l.Limits.Age,
		})
}

// Start starts the ProcessShard of a shard: at the beginning of what the
// stream keeps, or where an earlier run, that was closed, had come to.
func (l Launcher) Start(ctx context.Context, start supervise.ShardStart) error {
	id := workflows.ProcessShardID(start.Stream.Name, start.Stream.Created, start.Shard)
	last, err := lastStatus(ctx, l, id, func(in workflows.ShardInput) workflows.ShardStatus {
		return workflows.ShardStatus{Checkpoint: in.Checkpoint, Counts: in.Counts}
	})
	if err != nil {
		return err
	}
	return l.start(ctx, workflows.ProcessQueue, id, "process", start.Shard, "shard "+start.Shard+" of "+start.Stream.Name, workflows.ProcessShard, workflows.ShardInput{
		Stream: start.Stream, Shard: start.Shard, Checkpoint: last.Checkpoint, Counts: last.Counts,
		Holds: start.Holds, CallFor: start.CallFor, Generation: start.Generation,
	})
}

func (l Launcher) start(ctx context.Context, queue, id, stage, shard, summary string, workflow, in any) error {
	_, err := l.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: queue, StaticSummary: summary,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		TypedSearchAttributes:    temporal.NewSearchAttributes(workflows.Stage.ValueSet(stage), workflows.Shard.ValueSet(shard)),
	}, workflow, in)
	if err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	return nil
}

// queryTimeout bounds in time what a worker may take to answer a query.
const queryTimeout = 10 * time.Second

// lastStatus asks a workflow that is closed how far it came. If no worker can
// answer for it any more, its input has to do; without any run it is
// the beginning.
func lastStatus[Status, Input any](ctx context.Context, l Launcher, id string, began func(Input) Status) (Status, error) {
	status, err := query[Status](ctx, l, id)
	if err == nil || isNotFound(err) {
		return status, nil
	}
	slog.Warn("a closed workflow does not answer, going on from where it began", "workflow", id, "error", err)
	events := l.Client.GetWorkflowHistory(ctx, id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !events.HasNext() {
		return status, nil
	}
	first, err := events.Next()
	if err != nil {
		return status, fmt.Errorf("read the history of %s: %w", id, err)
	}
	var in Input
	input := first.GetWorkflowExecutionStartedEventAttributes().GetInput()
	if err := converter.GetDefaultDataConverter().FromPayloads(input, &in); err != nil {
		return status, fmt.Errorf("read the input of %s: %w", id, err)
	}
	return began(in), nil
}

func query[Status any](ctx context.Context, l Launcher, id string) (status Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	answer, err := l.Client.QueryWorkflow(ctx, id, "", workflows.StatusQuery)
	if err == nil {
		err = answer.Get(&status)
	}
	if err != nil {
		var none Status
		return none, fmt.Errorf("query %s: %w", id, err)
	}
	return status, nil
}

// ShardStatus returns the status of a shard's workflow, and while IndexShard
// runs, how far that is by its last heartbeat, a second or two ago.
func (l Launcher) ShardStatus(ctx context.Context, id string) (workflows.ShardStatus, error) {
	return liveStatus(ctx, l, id, (*workflows.ShardStatus).Merge, (*workflows.ShardStatus).PauseBy)
}

// liveStatus queries the status of a workflow, and merges into it the heartbeats of the
// activities that run for it, and who has paused one of them: a workflow knows neither.
func liveStatus[Status, Heartbeat any](
	ctx context.Context, l Launcher, id string, merge func(*Status, Heartbeat), pause func(*Status, control.Hold),
) (Status, error) {
	status, err := query[Status](ctx, l, id)
	if isNotFound(err) {
		return status, err
	}
	described, problem := l.Client.DescribeWorkflowExecution(ctx, id, "")
	if problem != nil {
		return status, cmp.Or(err, fmt.Errorf("describe %s: %w", id, problem))
	}
	if err := cmp.Or(Paused(described), err); err != nil {
		return status, err
	}
	for _, pending := range described.GetPendingActivities() {
		var live Heartbeat
		if pending.GetHeartbeatDetails() != nil &&
			converter.GetDefaultDataConverter().FromPayloads(pending.GetHeartbeatDetails(), &live) == nil {
			merge(&status, live)
		}
		if pending.GetPaused() {
			pause(&status, pauseOf(pending))
		}
	}
	return status, nil
}

// pauseOf describes the pause of an activity as a hold. It names the activity, which is
// what the operator has to unpause.
func pauseOf(pending *workflowpb.PendingActivityInfo) control.Hold {
	info := pending.GetPauseInfo()
	by := info.GetManual()
	reason := fmt.Sprintf("in Temporal, activity %s (%s)", pending.GetActivityId(), pending.GetActivityType().GetName())
	if by.GetReason() != "" {
		reason += ": " + by.GetReason()
	}
	return control.Hold{By: cmp.Or(by.GetIdentity(), info.GetRule().GetRuleId(), "unknown"), Reason: reason}
}

// Look returns the state of the workflow of a shard; empty if it has none.
func (l Launcher) Look(ctx context.Context, stream telemetry.StreamID, shard string) (string, error) {
	return l.look(ctx, workflows.ProcessShardID(stream.Name, stream.Created, shard))
}

func (l Launcher) look(ctx context.Context, id string) (string, error) {
	described, err := l.Client.DescribeWorkflowExecution(ctx, id, "")
	if isNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("describe %s: %w", id, err)
	}
	return stateOf(described.GetWorkflowExecutionInfo())
}

// stateOf returns the state of a shard by what the server knows of its workflow.
func stateOf(info *workflowpb.WorkflowExecutionInfo) (string, error) {
	switch info.GetStatus() {
	case enums.WORKFLOW_EXECUTION_STATUS_RUNNING, enums.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW:
		state := control.StateRunning
		if payload := info.GetSearchAttributes().GetIndexedFields()[workflows.State.GetName()]; payload != nil {
			if err := converter.GetDefaultDataConverter().FromPayload(payload, &state); err != nil {
				return "", fmt.Errorf("read the state of %s: %w", info.GetExecution().GetWorkflowId(), err)
			}
		}
		return state, nil
	case enums.WORKFLOW_EXECUTION_STATUS_PAUSED:
		return control.StatePaused, nil
	case enums.WORKFLOW_EXECUTION_STATUS_COMPLETED:
		return control.StateDrained, nil
	}
	return control.StateClosed, nil
}

// Command pauses, resumes or cancels the workflow of a shard, and waits until
// that is done. That it does not run is success.
func (l Launcher) Command(ctx context.Context, stream telemetry.StreamID, shard string, command control.Command) error {
	return l.commandIfRunning(ctx, workflows.ProcessShardID(stream.Name, stream.Created, shard), command)
}

func (l Launcher) commandIfRunning(ctx context.Context, id string, command control.Command) error {
	if err := l.command(ctx, id, command); err != nil && !isNotFound(err) {
		return fmt.Errorf("%s %s: %w", command.Name, id, err)
	}
	return nil
}

func (l Launcher) command(ctx context.Context, id string, command control.Command) error {
	described, err := l.Client.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return err
	}
	if err := Paused(described); err != nil {
		return err
	}
	switch command.Name {
	case control.CommandCancel:
		if err := l.Client.CancelWorkflow(ctx, id, ""); err != nil {
			return err
		}
		// However it ends, it has ended.
		if err := l.Client.GetWorkflow(ctx, id, "").Get(ctx, nil); ctx.Err() != nil {
			return err
		}
		return nil
	case control.CommandPause:
		// A workflow that is paused ends its activity, and with that the pause which an
		// operator may have given it in Temporal. So that becomes one of the workflow.
		for _, pending := range described.GetPendingActivities() {
			if !pending.GetPaused() {
				continue
			}
			hold := pauseOf(pending)
			hold.Reason = "from a pause " + hold.Reason // which cannot be lifted there any more
			if err := l.update(ctx, id, control.CommandPause, hold); err != nil {
				return fmt.Errorf("take over the pause of activity %s: %w", pending.GetActivityId(), err)
			}
		}
	}
	return l.update(ctx, id, command.Name, command.Hold)
}

func (l Launcher) update(ctx context.Context, id, name string, hold control.Hold) error {
	update, err := l.Client.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, Args: []any{hold}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return err
	}
	return update.Get(ctx, nil)
}

func isNotFound(err error) bool {
	var notFound *serviceerror.NotFound
	return errors.As(err, &notFound)
}
