package launch

import (
	"cmp"
	"fmt"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"millrace/internal/control"
)

// Open selects, in a query of Temporal's visibility, the workflows that are open: those
// that run, and those that an operator has paused in Temporal. It lists what it leaves
// out, since older servers refuse a query that names the status Paused.
const Open = "ExecutionStatus NOT IN ('Completed', 'Failed', 'Canceled', 'Terminated', 'ContinuedAsNew', 'TimedOut')"

// IsOpen reports whether a workflow of that status is open.
func IsOpen(status enums.WorkflowExecutionStatus) bool {
	return status == enums.WORKFLOW_EXECUTION_STATUS_RUNNING || status == enums.WORKFLOW_EXECUTION_STATUS_PAUSED
}

// PausedError says that a workflow is paused in Temporal: until it is unpaused there, it
// answers no query and obeys no command.
type PausedError struct {
	Workflow string
	Pause    control.Hold // by whom, and why
}

// Error implements error.
func (e *PausedError) Error() string {
	return fmt.Sprintf("%s is paused by %s (%s); it answers and obeys again after `temporal workflow unpause --workflow-id %s`",
		e.Workflow, e.Pause.By, e.Pause.Reason, e.Workflow)
}

// Paused returns a *PausedError if the workflow that is described is paused in Temporal.
func Paused(described *workflowservice.DescribeWorkflowExecutionResponse) error {
	if described.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_PAUSED {
		return nil
	}
	info := described.GetWorkflowExtendedInfo().GetPauseInfo()
	reason := "in Temporal"
	if info.GetReason() != "" {
		reason += ": " + info.GetReason()
	}
	return &PausedError{
		Workflow: described.GetWorkflowExecutionInfo().GetExecution().GetWorkflowId(),
		Pause:    control.Hold{By: cmp.Or(info.GetIdentity(), "unknown"), Reason: reason},
	}
}
