package workers

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities"
	"millrace/workflows"
)

// processSlots bounds the short activities, and with them the ranges that
// ProcessBatch workflows try at once: a range is at most one bulk.
const processSlots = 50

// Process makes the worker for the workflows of processing, and for those of
// their activities that are not a shard.
func Process(c client.Client, processor *activities.Processor, supervisor *activities.Supervisor) worker.Worker {
	w := worker.New(c, workflows.ProcessQueue, worker.Options{
		MaxConcurrentActivityExecutionSize: processSlots,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  stopMargin,
	})
	w.RegisterWorkflow(workflows.ProcessStream)
	w.RegisterWorkflow(workflows.ProcessShard)
	w.RegisterWorkflow(workflows.ProcessBatch)
	w.RegisterActivity(processor.IndexRange)
	w.RegisterActivity(processor.BuryRange)
	w.RegisterActivity(processor.CopyHeld)
	w.RegisterActivity(processor.ReleaseHeld)
	w.RegisterActivity(supervisor)
	return w
}
