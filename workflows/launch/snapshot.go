package launch

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"millrace/internal/telemetry"
	"millrace/workflows"
)

// Checkpoint returns where a shard is, by the last heartbeat of its IndexShard
// while that runs: zero if it was never begun.
func (l Launcher) Checkpoint(ctx context.Context, stream telemetry.StreamID, shard string) (telemetry.Checkpoint, error) {
	status, err := l.ShardStatus(ctx, workflows.ProcessShardID(stream.Name, stream.Created, shard))
	if isNotFound(err) {
		return telemetry.Checkpoint{}, nil
	}
	return status.Checkpoint, err
}

// handoverWithin is how long a batch that continues as new may be neither open
// nor listed as its next run, since Temporal lists what has happened a little
// later; and by how much clocks may differ.
const handoverWithin = time.Minute

// OpenBatches returns the ranges of the ProcessBatch workflows that were open at
// a time, as they were handed to them, of streams of that name. One that was
// terminated, or failed, is open until a later run of it has come to its end:
// its shard is past its range. Temporal may list later what has happened; who asks
// again about the same time learns of that.
func (l Launcher) OpenBatches(ctx context.Context, stream telemetry.StreamID, at time.Time) ([]telemetry.Range, error) {
	since, until := at.Add(-handoverWithin).UTC(), at.Add(handoverWithin).UTC()
	request := &workflowservice.ListWorkflowExecutionsRequest{Query: fmt.Sprintf(
		"WorkflowType = 'ProcessBatch' AND StartTime < '%s' AND (ExecutionStatus NOT IN ('Completed', 'Canceled', 'ContinuedAsNew') OR CloseTime > '%s')",
		until.Format(time.RFC3339Nano), since.Format(time.RFC3339Nano))}
	prefix := fmt.Sprintf("batch/%s/", stream.Name)
	found := map[string]bool{}
	var open []telemetry.Range
	for {
		page, err := l.Client.ListWorkflow(ctx, request)
		if err != nil {
			return nil, fmt.Errorf("list open batches: %w", err)
		}
		for _, info := range page.GetExecutions() {
			id := info.GetExecution().GetWorkflowId()
			if found[id] || !strings.HasPrefix(id, prefix) {
				continue
			}
			found[id] = true
			ended, err := l.endedBefore(ctx, info, since)
			if err != nil {
				return nil, err
			}
			if ended {
				continue
			}
			r, err := l.batchRange(ctx, id, info.GetExecution().GetRunId())
			if isNotFound(err) { // it has ended, and is forgotten
				continue
			}
			if err != nil {
				return nil, err
			}
			open = append(open, r)
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
			return open, nil
		}
	}
}

// endedBefore reports whether a batch had come to its end before a time, by its
// last run, if the one that is listed was closed unfinished before.
func (l Launcher) endedBefore(ctx context.Context, listed *workflowpb.WorkflowExecutionInfo, at time.Time) (bool, error) {
	if listed.GetCloseTime() == nil || listed.GetCloseTime().AsTime().After(at) {
		return false, nil
	}
	id := listed.GetExecution().GetWorkflowId()
	described, err := l.Client.DescribeWorkflowExecution(ctx, id, "")
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("describe %s: %w", id, err)
	}
	last := described.GetWorkflowExecutionInfo()
	switch last.GetStatus() {
	case enums.WORKFLOW_EXECUTION_STATUS_COMPLETED, enums.WORKFLOW_EXECUTION_STATUS_CANCELED: // which has written the rest to the ledger
		return !last.GetCloseTime().AsTime().After(at), nil
	}
	return false, nil
}

// batchRange returns the range of a ProcessBatch from its history: no worker
// is needed for that.
func (l Launcher) batchRange(ctx context.Context, id, run string) (telemetry.Range, error) {
	var in workflows.BatchInput
	events := l.Client.GetWorkflowHistory(ctx, id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !events.HasNext() {
		return in.Range, fmt.Errorf("read the history of %s: it is empty", id)
	}
	first, err := events.Next()
	if err != nil {
		return in.Range, fmt.Errorf("read the history of %s: %w", id, err)
	}
	input := first.GetWorkflowExecutionStartedEventAttributes().GetInput()
	if err := converter.GetDefaultDataConverter().FromPayloads(input, &in); err != nil {
		return in.Range, fmt.Errorf("read the input of %s: %w", id, err)
	}
	return in.Range, nil
}
