package workers

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/redrive"
	"millrace/workflows"
)

// redriveSlots is one queue, and room for another that takes over from it.
const redriveSlots = 2

// Redrive makes the worker for the fallback queue.
func Redrive(c client.Client, redriver *redrive.Redriver) worker.Worker {
	w := newWorker(c, workflows.RedriveQueue, worker.Options{
		MaxConcurrentActivityExecutionSize: redriveSlots,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  2 * stopMargin,
	})
	registerRedrive(w, redriver)
	return w
}

func registerRedrive(w worker.Registry, redriver *redrive.Redriver) {
	w.RegisterWorkflow(workflows.Redrive)
	redrive.RedriveMessages.Register(w, redriver.RedriveMessages)
}
