package workers

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/process"
	"millrace/activities/supervise"
	"millrace/workflows"
)

const (
	// processSlots bounds the activities that have no need of Elasticsearch: to
	// look after shards and command them, to give ranges up and to copy them.
	processSlots = 50

	// DefaultRangeSlots is how many ranges of ProcessBatch workflows a worker
	// tries at once. Each holds its records, at most one bulk, also while it
	// waits for Elasticsearch.
	DefaultRangeSlots = 50
)

// Process makes the worker for the workflows of processing, and for those of
// their activities that are not a shard.
func Process(c client.Client, processor *process.Processor, supervisor *supervise.Supervisor) worker.Worker {
	w := newWorker(c, workflows.ProcessQueue, worker.Options{
		MaxConcurrentActivityExecutionSize: processSlots,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  stopMargin,
	})
	registerProcess(w, processor, supervisor)
	return w
}

func registerProcess(w worker.Registry, processor *process.Processor, supervisor *supervise.Supervisor) {
	w.RegisterWorkflow(workflows.ProcessStream)
	w.RegisterWorkflow(workflows.ProcessShard)
	w.RegisterWorkflowWithOptions(workflows.ProcessBatch, bounded)
	// It has moved to workflows.RangeQueue. Attempts that were begun before are
	// tried again here.
	process.IndexRange.Register(w, processor.IndexRange)
	process.BuryRange.Register(w, processor.BuryRange)
	process.CopyHeld.Register(w, processor.CopyHeld)
	process.ReleaseHeld.Register(w, processor.ReleaseHeld)
	supervise.SuperviseShards.Register(w, supervisor.SuperviseShards)
	supervise.CommandShards.Register(w, supervisor.CommandShards)
}

// Range makes the worker for the attempts at ranges: IndexRange and nothing
// else, so that those which wait for Elasticsearch do not delay the copies of what
// they hold.
func Range(c client.Client, processor *process.Processor, slots int) worker.Worker {
	w := newWorker(c, workflows.RangeQueue, worker.Options{
		DisableWorkflowWorker:              true,
		MaxConcurrentActivityExecutionSize: slots,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  stopMargin,
	})
	registerRange(w, processor)
	return w
}

func registerRange(w worker.Registry, processor *process.Processor) {
	process.IndexRange.Register(w, processor.IndexRange)
}
