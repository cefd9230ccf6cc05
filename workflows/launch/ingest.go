package launch

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

	"millrace/activities/ingest"
	"millrace/workflows"
)

// StartIngest starts the IngestBatch of a pack of records: once it returns
// without error, they are durable. Where this process polls the ingest queue
// with the same client, the run begins in it at once (eager start).
func (l Launcher) StartIngest(ctx context.Context, id string, batch []byte) error {
	_, err := l.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.IngestQueue, EnableEagerStart: true,
	}, workflows.IngestBatch, batch)
	if err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	return nil
}

// StartReconcile starts Reconcile if it does not run.
func (l Launcher) StartReconcile(ctx context.Context) error {
	_, err := l.Client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: workflows.ReconcileID, TaskQueue: workflows.IngestQueue, StaticSummary: "replay batches whose workflow was closed unfinished",
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		TypedSearchAttributes:    temporal.NewSearchAttributes(workflows.Stage.ValueSet("ingest")),
	}, workflows.Reconcile, ingest.ReconcileInput{})
	if err != nil {
		return fmt.Errorf("start %s: %w", workflows.ReconcileID, err)
	}
	return nil
}

// IngestInput returns the input of a run of IngestBatch, from its history. The
// error wraps ingest.ErrUnreadable when it can never be had.
func (l Launcher) IngestInput(ctx context.Context, id, run string) (batch []byte, err error) {
	err = l.input(ctx, id, run, &batch)
	return batch, err
}

// input reads the input of a run from its history.
func (l Launcher) input(ctx context.Context, id, run string, in any) error {
	events := l.Client.GetWorkflowHistory(ctx, id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !events.HasNext() {
		return fmt.Errorf("%w: the history is empty", ingest.ErrUnreadable)
	}
	first, err := events.Next()
	if err != nil {
		return fmt.Errorf("read the history: %w", lasting(err))
	}
	input := first.GetWorkflowExecutionStartedEventAttributes().GetInput()
	if err := converter.GetDefaultDataConverter().FromPayloads(input, in); err != nil {
		return fmt.Errorf("%w: decode it: %w", ingest.ErrUnreadable, err)
	}
	return nil
}

// lasting marks what Temporal will always answer about a run: that it has its
// history no longer, or not whole.
func lasting(err error) error {
	var lost *serviceerror.DataLoss
	if isNotFound(err) || errors.As(err, &lost) {
		return fmt.Errorf("%w: %w", ingest.ErrUnreadable, err)
	}
	return err
}

// UnfinishedIngests yields the runs of IngestBatch that closed after a time
// without completing, but for those that were canceled: they have written the
// rest to the ledger.
func (l Launcher) UnfinishedIngests(ctx context.Context, since time.Time, each func(id, run string) error) error {
	return l.unfinished(ctx, "IngestBatch", since, each)
}

func (l Launcher) unfinished(ctx context.Context, workflowType string, since time.Time, each func(id, run string) error) error {
	query := "WorkflowType = '" + workflowType + "' AND ExecutionStatus IN ('Failed', 'Terminated', 'TimedOut')"
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
// completed, is success, and reported as false.
func (l Launcher) ReplayIngest(ctx context.Context, id string, batch []byte) (started bool, err error) {
	return l.again(ctx, client.StartWorkflowOptions{ID: id, TaskQueue: workflows.IngestQueue}, workflows.IngestBatch, batch)
}

// UnfinishedBatches is UnfinishedIngests for ProcessBatch.
func (l Launcher) UnfinishedBatches(ctx context.Context, since time.Time, each func(id, run string) error) error {
	return l.unfinished(ctx, "ProcessBatch", since, each)
}

// RestartBatch starts a ProcessBatch again as a run of it began. One of which
// there is a later run is left alone, and reported as false. The error is as
// that of IngestInput.
func (l Launcher) RestartBatch(ctx context.Context, id, run string) (started bool, err error) {
	last, err := l.Client.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return false, fmt.Errorf("describe its last run: %w", lasting(err))
	}
	if last.GetWorkflowExecutionInfo().GetExecution().GetRunId() != run {
		return false, nil
	}
	var in workflows.BatchInput
	if err := l.input(ctx, id, run, &in); err != nil {
		return false, err
	}
	if in.Range.First == "" { // it was started by hand, without
		return false, fmt.Errorf("%w: it has no range", ingest.ErrUnreadable)
	}
	return l.again(ctx, client.StartWorkflowOptions{
		ID: id, TaskQueue: workflows.ProcessQueue,
		TypedSearchAttributes: temporal.NewSearchAttributes(workflows.Stage.ValueSet("batch"), workflows.Shard.ValueSet(in.Range.Shard)),
	}, workflows.ProcessBatch, in)
}

// again starts a workflow whose last run was closed unfinished.
func (l Launcher) again(ctx context.Context, options client.StartWorkflowOptions, workflow, in any) (started bool, err error) {
	options.StaticSummary = "replayed: an earlier run was closed unfinished"
	options.WorkflowIDReusePolicy = enums.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY
	options.WorkflowIDConflictPolicy = enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL
	options.WorkflowExecutionErrorWhenAlreadyStarted = true
	_, err = l.Client.ExecuteWorkflow(ctx, options, workflow, in)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &already) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("start %s: %w", options.ID, err)
	}
	return true, nil
}
