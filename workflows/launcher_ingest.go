package workflows

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"millrace/activities"
)

// StartIngest starts the IngestBatch of a pack of records: once it returns
// without error, they are durable. Where this process polls the ingest queue
// with the same client, the run begins in it at once (eager start).
func (l Launcher) StartIngest(ctx context.Context, id string, batch []byte) error {
	_, err := l.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: IngestQueue, EnableEagerStart: true,
	}, IngestBatch, batch)
	if err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	return nil
}

// StartReconcile starts Reconcile if it does not run.
func (l Launcher) StartReconcile(ctx context.Context) error {
	_, err := l.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: ReconcileID, TaskQueue: IngestQueue, StaticSummary: "replay batches whose workflow was closed unfinished",
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		TypedSearchAttributes:    temporal.NewSearchAttributes(Stage.ValueSet("ingest")),
	}, Reconcile, activities.ReconcileInput{})
	if err != nil {
		return fmt.Errorf("start %s: %w", ReconcileID, err)
	}
	return nil
}

// IngestInput returns the input of a run of IngestBatch, from its history.
func (l Launcher) IngestInput(ctx context.Context, id, run string) ([]byte, error) {
	events := l.Client.GetWorkflowHistory(ctx, id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !events.HasNext() {
		return nil, errors.New("the history is empty")
	}
	first, err := events.Next()
	if err != nil {
		return nil, fmt.Errorf("read the history: %w", err)
	}
	var batch []byte
	input := first.GetWorkflowExecutionStartedEventAttributes().GetInput()
	if err := converter.GetDefaultDataConverter().FromPayloads(input, &batch); err != nil {
		return nil, fmt.Errorf("decode the input: %w", err)
	}
	return batch, nil
}

// UnfinishedIngests yields the runs of IngestBatch that closed after a time
// without completing, but for those that were canceled: they have written the
// rest to the ledger.
func (l Launcher) UnfinishedIngests(ctx context.Context, since time.Time, each func(id, run string) error) error {
	query := "WorkflowType = 'IngestBatch' AND ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut')"
	if !since.IsZero() {
		query += " AND CloseTime > '" + since.UTC().Format(time.RFC3339Nano) + "'"
	}
	request := &workflowservice.ListWorkflowExecutionsRequest{Query: query}
	for {
		page, err := l.Client.ListWorkflow(ctx, request)
		if err != nil {
			return fmt.Errorf("list closed batches: %w", err)
		}
		for _, info := range page.GetExecutions() {
			if err := each(info.GetExecution().GetWorkflowId(), info.GetExecution().GetRunId()); err != nil {
				return err
			}
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
			return nil
		}
	}
}

// ReplayIngest starts a batch again under the id it had. That it runs, or has
// completed by now, is success, and reported as false.
func (l Launcher) ReplayIngest(ctx context.Context, id string, batch []byte) (started bool, err error) {
	_, err = l.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: IngestQueue, StaticSummary: "replayed: an earlier run was closed unfinished",
		WorkflowIDReusePolicy:                    enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY,
		WorkflowIDConflictPolicy:                 enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
		WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, IngestBatch, batch)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &already) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("start %s: %w", id, err)
	}
	return true, nil
}
