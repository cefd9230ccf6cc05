package find

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"millrace/workflows"
	"millrace/workflows/launch"
)

// Temporal asks workflows. It implements Batches.
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
