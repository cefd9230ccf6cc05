package find

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"millrace/internal/pack"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// Temporal asks workflows. It implements Batches and Ingests.
type Temporal struct {
	Client client.Client
	Stream string // name
	// AnswerWithin bounds the time that a worker may take to answer a query.
	AnswerWithin time.Duration
}

// Open implements Batches. Temporal lists a workflow within a second or so of its
// start.
func (t Temporal) Open(ctx context.Context, most int) (ids []string, more bool, err error) {
	request := &workflowservice.ListWorkflowExecutionsRequest{
		Query: "WorkflowType = 'ProcessBatch' AND WorkflowId STARTS_WITH 'batch/" + t.Stream + "/' AND " + launch.Open,
	}
	for {
		page, err := t.Client.ListWorkflow(ctx, request)
		if err != nil {
			return nil, false, fmt.Errorf("list the batches: %w", err)
		}
		for _, info := range page.GetExecutions() {
			if len(ids) == most {
				return ids, true, nil
			}
			ids = append(ids, info.GetExecution().GetWorkflowId())
		}
		if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
			return ids, false, nil
		}
	}
}

// Status implements Batches.
func (t Temporal) Status(ctx context.Context, id string) (status workflows.BatchStatus, err error) {
	ctx, cancel := context.WithTimeout(ctx, t.AnswerWithin)
	defer cancel()
	answer, err := t.Client.QueryWorkflow(ctx, id, "", workflows.StatusQuery)
	if err == nil {
		err = answer.Get(&status)
	}
	if err != nil {
		return status, fmt.Errorf("no worker has answered for it: %w", err)
	}
	return status, nil
}

// Ingest implements Ingests.
func (t Temporal) Ingest(ctx context.Context, id string) (run IngestRun, err error) {
	described, err := t.Client.DescribeWorkflowExecution(ctx, id, "")
	if err != nil {
		return run, fmt.Errorf("describe %s: %w", id, err)
	}
	info := described.GetWorkflowExecutionInfo()
	run.State, run.Open = info.GetStatus(), launch.IsOpen(info.GetStatus())
	runID := info.GetExecution().GetRunId()
	batch, err := launch.Launcher{Client: t.Client}.IngestInput(ctx, id, runID)
	if err != nil {
		return run, fmt.Errorf("read the batch of %s: %w", id, err)
	}
	if run.Records, err = pack.Unpack(batch); err != nil {
		return run, fmt.Errorf("read the batch of %s: %w", id, err)
	}
	ctx, cancel := context.WithTimeout(ctx, t.AnswerWithin)
	defer cancel()
	if run.Open {
		answer, err := t.Client.QueryWorkflow(ctx, id, runID, workflows.StatusQuery)
		run.Known = err == nil && answer.Get(&run.Status) == nil // else no worker has answered: the records are safe in it
		return run, nil
	}
	run.Closed = info.GetCloseTime().AsTime()
	run.Known = t.Client.GetWorkflow(ctx, id, runID).Get(ctx, &run.Status) == nil // one that did not complete has no result
	return run, nil
}
