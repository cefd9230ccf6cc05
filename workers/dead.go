package workers

import (
	"context"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"millrace/activities/deadletters"
	"millrace/workflows"
)

// deadSlots is one call of each activity, room for another that takes over from it,
// and for some indices that are drained at the same time.
const deadSlots = 8

// Dead makes the worker for the dead-letter queue and the ledger.
func Dead(c client.Client, keeper *deadletters.Keeper, reprocessor Reprocessor) worker.Worker {
	w := newWorker(c, workflows.DeadQueue, worker.Options{
		MaxConcurrentActivityExecutionSize: deadSlots,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  2 * stopMargin,
	})
	registerDead(w, keeper, reprocessor)
	return w
}

func registerDead(w worker.Registry, keeper *deadletters.Keeper, reprocessor Reprocessor) {
	w.RegisterWorkflow(workflows.KeepDeadLetters)
	w.RegisterWorkflowWithOptions(workflows.ReprocessDeadLetters, bounded)
	w.RegisterWorkflow(workflows.DrainIndex)
	deadletters.KeepLetters.Register(w, keeper.KeepLetters)
	deadletters.ReprocessEntries.Register(w, reprocessor.ReprocessEntries)
	deadletters.DrainParked.Register(w, reprocessor.DrainParked)
}

// Reprocessor brings records home. See deadletters.Reprocessor.
type Reprocessor interface {
	ReprocessEntries(ctx context.Context, in deadletters.ReprocessCall) (deadletters.ReprocessProgress, error)
	DrainParked(ctx context.Context, in deadletters.DrainCall) (deadletters.DrainResult, error)
}

// DirectOnly is a Reprocessor for a sink that finds no documents.
type DirectOnly struct{ *deadletters.Reprocessor }

// ReprocessEntries refuses to put records into the stream again: that they have come
// out of it is known by their documents alone. Each entry would stay open as unsettled,
// and each attempt write its records once more.
func (d DirectOnly) ReprocessEntries(ctx context.Context, in deadletters.ReprocessCall) (deadletters.ReprocessProgress, error) {
	if in.Mode == deadletters.ModeIngest {
		return in.Progress, temporal.NewNonRetryableApplicationError(
			"the sink of this worker cannot look documents up, so records in the stream cannot be followed: use starter dlq reprocess --direct", workflows.InvalidInput, nil)
	}
	return d.Reprocessor.ReprocessEntries(ctx, in)
}
