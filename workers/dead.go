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
	registerDead(w, keeper, reprocessor)
	return w
}

func registerDead(w worker.Registry, keeper *activities.Keeper, reprocessor *activities.Reprocessor) {
	w.RegisterWorkflow(workflows.KeepDeadLetters)
	w.RegisterWorkflowWithOptions(workflows.ReprocessDeadLetters, bounded)
	w.RegisterWorkflow(workflows.DrainIndex)
	activities.KeepLetters.Register(w, keeper.KeepLetters)
	activities.ReprocessEntries.Register(w, reprocessor.ReprocessEntries)
	activities.DrainParked.Register(w, reprocessor.DrainParked)
}
