package workflows

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/converter"

	"millrace/activities"
	"millrace/internal/telemetry"
)

// Checkpoint returns where a shard is, by the last heartbeat of its IndexShard
// while that runs: zero if it was never begun.
func (l Launcher) Checkpoint(ctx context.Context, stream activities.StreamID, shard string) (telemetry.Checkpoint, error) {
	status, err := l.ShardStatus(ctx, ProcessShardID(stream.Name, stream.Created, shard))
	if isNotFound(err) {
		return telemetry.Checkpoint{}, nil
	}
	return status.Checkpoint, err
}

// handoverWithin is how long a batch that continues as new may be neither open
// nor listed as its next run, since Temporal lists what has happened a little
// later.
const handoverWithin = time.Minute

// OpenBatches returns the ranges of the ProcessBatch workflows of a stream that
// are open, as they were handed to them.
func (l Launcher) OpenBatches(ctx context.Context, stream activities.StreamID) ([]telemetry.Range, error) {
	request := &workflowservice.ListWorkflowExecutionsRequest{Query: fmt.Sprintf(
		"WorkflowType = 'ProcessBatch' AND (ExecutionStatus = 'Running' OR (ExecutionStatus = 'ContinuedAsNew' AND CloseTime > '%s'))",
		time.Now().Add(-handoverWithin).UTC().Format(time.RFC3339Nano))}
	prefix := fmt.Sprintf("batch/%s/%d/", stream.Name, stream.Created.Unix())
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

// batchRange returns the range of a ProcessBatch from its history: no worker
// is needed for that.
func (l Launcher) batchRange(ctx context.Context, id, run string) (telemetry.Range, error) {
	var in BatchInput
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
