package launch

import (
	"context"
	"fmt"
)

// Runs reports whether a workflow of that id runs, or is paused.
func (l Launcher) Runs(ctx context.Context, id string) (bool, error) {
	described, err := l.Client.DescribeWorkflowExecution(ctx, id, "")
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("describe %s: %w", id, err)
	}
	return IsOpen(described.GetWorkflowExecutionInfo().GetStatus()), nil
}
