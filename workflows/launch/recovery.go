package launch

import (
	"context"
	"fmt"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"millrace/activities/process"
	"millrace/internal/control"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// CommandStream has ProcessStream pause or resume all shards, and waits until
// that is done; false if it does not run.
func (l Launcher) CommandStream(ctx context.Context, stream telemetry.StreamID, command control.Command) (running bool, err error) {
	id := workflows.ProcessStreamID(stream.Name)
	err = l.command(ctx, id, command)
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s %s: %w", command.Name, id, err)
	}
	return true, nil
}

// Paused describes what of ProcessStream, and of the workflows of these shards, is
// paused in Temporal, and obeys no command.
func (l Launcher) Paused(ctx context.Context, stream telemetry.StreamID, shards []string) (paused []string, err error) {
	ids := []string{workflows.ProcessStreamID(stream.Name)}
	for _, shard := range shards {
		ids = append(ids, workflows.ProcessShardID(stream.Name, stream.Created, shard))
	}
	for _, id := range ids {
		described, err := l.Client.DescribeWorkflowExecution(ctx, id, "")
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("describe %s: %w", id, err)
		}
		if err := Paused(described); err != nil {
			paused = append(paused, err.Error())
		}
	}
	return paused, nil
}

// Reached returns the checkpoint of a shard; false if it has no workflow.
func (l Launcher) Reached(ctx context.Context, stream telemetry.StreamID, shard string) (telemetry.Checkpoint, bool, error) {
	status, err := l.ShardStatus(ctx, workflows.ProcessShardID(stream.Name, stream.Created, shard))
	if isNotFound(err) {
		return telemetry.Checkpoint{}, false, nil
	}
	return status.Checkpoint, err == nil, err
}

// Recovering reports whether a recovery is open, which may delete indices: that of a drill
// makes copies, and does not count.
func (l Launcher) Recovering(ctx context.Context) (bool, error) {
	described, err := l.Client.DescribeWorkflowExecution(ctx, workflows.RecoverID, "")
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("describe %s: %w", workflows.RecoverID, err)
	}
	info := described.GetWorkflowExecutionInfo()
	return IsOpen(info.GetStatus()) && info.GetParentExecution().GetWorkflowId() != workflows.DrillID, nil
}

// AuditStatus returns the status of the audit of the backup, or of the last one, with what
// its activity says at the moment.
func (l Launcher) AuditStatus(ctx context.Context) (workflows.AuditStatus, error) {
	return liveStatus(ctx, l, workflows.AuditID, (*workflows.AuditStatus).Merge, (*workflows.AuditStatus).PauseBy)
}

// ProcessedShards returns the shards of all streams of a name that have a workflow,
// open or closed, for as long as Temporal keeps them.
func (l Launcher) ProcessedShards(ctx context.Context, stream string) (shards []telemetry.Range, err error) {
	request := &workflowservice.ListWorkflowExecutionsRequest{
		Query: "WorkflowType = 'ProcessShard' AND ExecutionStatus != 'ContinuedAsNew'", // of each shard its last runs
	}
	found := map[string]bool{}
	for {
		page, err := l.Client.ListWorkflow(ctx, request)
		if err != nil {
			return nil, fmt.Errorf("list the shards that have been processed: %w", err)
		}
		for _, info := range page.GetExecutions() {
			id := info.GetExecution().GetWorkflowId()
			shard, ok := workflows.ParseProcessShardID(id, stream)
			if ok && !found[id] {
				shards, found[id] = append(shards, shard), true
			}
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
			return shards, nil
		}
	}
}

// Live returns what the present call of IndexShard says, nothing between two
// calls; false if there are to be none: the shard has no workflow, or it is
// drained, paused or tripped.
func (l Launcher) Live(ctx context.Context, stream telemetry.StreamID, shard string) (said process.Progress, running bool, err error) {
	id := workflows.ProcessShardID(stream.Name, stream.Created, shard)
	described, err := l.Client.DescribeWorkflowExecution(ctx, id, "")
	if isNotFound(err) {
		return said, false, nil
	}
	if err != nil {
		return said, false, fmt.Errorf("describe %s: %w", id, err)
	}
	state, err := stateOf(described.GetWorkflowExecutionInfo())
	if err != nil || state != control.StateRunning && state != control.StateWaiting {
		return said, false, err
	}
	for _, pending := range described.GetPendingActivities() {
		var progress process.Progress
		if details := pending.GetHeartbeatDetails(); details != nil &&
			converter.GetDefaultDataConverter().FromPayloads(details, &progress) == nil {
			said = progress
		}
	}
	return said, true, nil
}
