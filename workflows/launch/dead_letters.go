package launch

import (
	"context"
	"fmt"

	"go.temporal.io/api/enums/v1"
)

// Runs reports whether a workflow of that id runs.
func (l Launcher) Runs(ctx context.Context, id string) (bool, error) {
	described, err := l.Client.DescribeWorkflowExecution(ctx, id, "")
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("describe %s: %w", id, err)
	}
	return described.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_RUNNING, nil
}
