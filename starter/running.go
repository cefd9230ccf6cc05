package main

import (
	"context"
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"millrace/internal/control"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// listRunning lists the workflows of a type that run.
func listRunning(ctx context.Context, c client.Client, kind string) (all []*workflow.WorkflowExecutionInfo, err error) {
	request := &workflowservice.ListWorkflowExecutionsRequest{Query: fmt.Sprintf("WorkflowType = '%s' AND %s", kind, launch.Open)}
	for {
		page, err := c.ListWorkflow(ctx, request)
		if err != nil {
			return nil, fmt.Errorf("list workflows of type %s: %w", kind, advise(err, ""))
		}
		all = append(all, page.GetExecutions()...)
		if request.NextPageToken = page.GetNextPageToken(); len(request.NextPageToken) == 0 {
			return all, nil
		}
	}
}

// startedBy is who started a workflow: the identity in the first event of its first run.
func startedBy(ctx context.Context, c client.Client, id string) (string, error) {
	for run := ""; ; {
		event, err := c.GetWorkflowHistory(ctx, id, run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT).Next()
		if err != nil {
			return "", fmt.Errorf("read who started %s: %w", id, advise(err, ""))
		}
		started := event.GetWorkflowExecutionStartedEventAttributes()
		if run == started.GetFirstExecutionRunId() || started.GetContinuedExecutionRunId() == "" {
			return started.GetIdentity(), nil
		}
		run = started.GetFirstExecutionRunId()
	}
}

// stateOf is the state that a listed workflow shows.
func stateOf(info *workflow.WorkflowExecutionInfo) string {
	if info.GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_PAUSED { // in Temporal, which it does not know
		return control.StatePaused
	}
	return attribute(info, workflows.State.GetName())
}

// attribute is a search attribute of a listed workflow.
func attribute(info *workflow.WorkflowExecutionInfo, name string) (value string) {
	payload := info.GetSearchAttributes().GetIndexedFields()[name]
	if payload == nil || converter.GetDefaultDataConverter().FromPayload(payload, &value) != nil {
		return "-"
	}
	return value
}
