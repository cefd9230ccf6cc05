package workers

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/deadletters"
	"millrace/workflows"
)

// deadSlots is one call of each activity, room for another that takes over from it,
// and for some indices that are drained at the same time.
const deadSlots = 8

// Dead makes the worker for the dead-letter queue and the ledger.
func Dead(c client.Client, keeper *deadletters.Keeper, reprocessor *deadletters.Reprocessor) worker.Worker {
	w := worker.New(c, workflows.DeadQueue, worker.Options{
		MaxConcurrentActivityExecutionSize: deadSlots,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  2 * stopMargin,
	})
	registerDead(w, keeper, reprocessor)
	return w
}

func registerDead(w worker.Registry, keeper *deadletters.Keeper, reprocessor *deadletters.Reprocessor) {
	w.RegisterWorkflow(workflows.KeepDeadLetters)
	w.RegisterWorkflowWithOptions(workflows.ReprocessDeadLetters, bounded)
	w.RegisterWorkflow(workflows.DrainIndex)
	deadletters.KeepLetters.Register(w, keeper.KeepLetters)
	deadletters.ReprocessEntries.Register(w, reprocessor.ReprocessEntries)
	deadletters.DrainParked.Register(w, reprocessor.DrainParked)
}
