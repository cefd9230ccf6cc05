package workers

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities"
	"millrace/workflows"
)

// deadSlots is one call of each activity, room for another that takes over from it,
// and for some indices that are drained at the same time.
const deadSlots = 8

// Dead makes the worker for the dead-letter queue and the ledger.
func Dead(c client.Client, keeper *activities.Keeper, reprocessor *activities.Reprocessor) worker.Worker {
	w := worker.New(c, workflows.DeadQueue, worker.Options{
		MaxConcurrentActivityExecutionSize: deadSlots,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  2 * stopMargin,
	})
	w.RegisterWorkflow(workflows.KeepDeadLetters)
	w.RegisterWorkflowWithOptions(workflows.ReprocessDeadLetters, bounded)
	w.RegisterWorkflow(workflows.DrainIndex)
	w.RegisterActivity(keeper)
	w.RegisterActivity(reprocessor)
	return w
}
