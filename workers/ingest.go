package workers

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/ingest"
	"millrace/internal/intake"
	"millrace/workflows"
)

const (
	// putSlots bounds the batches whose first attempt runs: those that
	// intake.Writer takes at once. The others wait, and their time does not
	// run yet.
	putSlots = intake.DefaultConcurrency
	// finishSlots bounds the batches that both stream and queue have refused:
	// mostly they wait for their next attempt.
	finishSlots = 200
)

// Ingest makes the worker for IngestBatch and Reconcile. The collector runs it
// on the client with which it starts batches, so that they begin right there.
func Ingest(c client.Client, ingester *ingest.Ingester) worker.Worker {
	w := newWorker(c, workflows.IngestQueue, worker.Options{
		MaxConcurrentLocalActivityExecutionSize: putSlots,
		MaxConcurrentActivityExecutionSize:      finishSlots,
		WorkerStopTimeout:                       stopMargin,
	})
	registerIngest(w, ingester)
	return w
}

func registerIngest(w worker.Registry, ingester *ingest.Ingester) {
	w.RegisterWorkflowWithOptions(workflows.IngestBatch, bounded)
	w.RegisterWorkflow(workflows.Reconcile)
	ingest.PutBatch.Register(w, ingester.PutBatch)
	ingest.FinishBatch.Register(w, ingester.FinishBatch)
	ingest.BuryBatch.Register(w, ingester.BuryBatch)
	ingest.ReconcileBatches.Register(w, ingester.ReconcileBatches)
}
