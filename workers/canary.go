package workers

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/canary"
	"millrace/workflows"
)

// canarySlots has room for the runs that are under way at the same time while records
// are late: four by default.
const canarySlots = 32

// Canary makes the worker for the canary. Its slots are its own: whatever else a worker
// is busy with, it says how the pipeline does.
func Canary(c client.Client, prober *canary.Prober) worker.Worker {
	w := newWorker(c, workflows.CanaryQueue, worker.Options{
		MaxConcurrentActivityExecutionSize: canarySlots,
		MaxConcurrentActivityTaskPollers:   2,
		MaxConcurrentWorkflowTaskPollers:   2,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  stopMargin,
	})
	registerCanary(w, prober)
	return w
}

func registerCanary(w worker.Registry, prober *canary.Prober) {
	w.RegisterWorkflowWithOptions(workflows.Canary, bounded)
	canary.ProbeCollectors.Register(w, prober.ProbeCollectors)
	canary.DropCanaryIndices.Register(w, prober.DropCanaryIndices)
}
