package workers

import (
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/process"
	"millrace/workflows"
)

// DefaultIndexSlots is how many shards a worker indexes at once. Each may hold
// ProcessLimits.PrefetchBytes of records, a page of 10 MiB and its bulks in
// flight: about 50 MiB in all when Elasticsearch is slow.
const DefaultIndexSlots = 16

const (
	// heartbeatThrottle lets a call say how far it is when it chooses to: the SDK
	// would send it only at 80 % of the timeout.
	heartbeatThrottle = time.Second

	// stopMargin is what a stopping worker has beyond the time its activities
	// take to drain: to report how they ended.
	stopMargin = 5 * time.Second
)

// Index makes the worker for the shards: IndexShard and nothing else, so that
// its slots bound the shards of this process.
func Index(c client.Client, processor *process.Processor, slots int) worker.Worker {
	w := newWorker(c, workflows.IndexQueue, worker.Options{
		DisableWorkflowWorker:              true,
		MaxConcurrentActivityExecutionSize: slots,
		MaxConcurrentActivityTaskPollers:   2,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  processor.Limits.DrainTimeout + stopMargin,
	})
	registerIndex(w, processor)
	return w
}

func registerIndex(w worker.Registry, processor *process.Processor) {
	process.IndexShard.Register(w, processor.IndexShard)
}
