package workers

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities"
	"millrace/workflows"
)

// ingestSlots bounds the batches that this process puts into the stream at the
// same time. Those that both stream and queue refuse hold no slot while they
// wait for a turn.
const ingestSlots = 100

// Ingest makes the worker for IngestBatch and Reconcile. The collector runs it
// on the client with which it starts batches, so that they begin right there.
func Ingest(c client.Client, ingester *activities.Ingester) worker.Worker {
	w := worker.New(c, workflows.IngestQueue, worker.Options{
		MaxConcurrentLocalActivityExecutionSize: ingestSlots,
		MaxConcurrentActivityExecutionSize:      ingestSlots,
		WorkerStopTimeout:                       stopMargin,
	})
	w.RegisterWorkflow(workflows.IngestBatch)
	w.RegisterWorkflow(workflows.Reconcile)
	w.RegisterActivity(ingester)
	return w
}
