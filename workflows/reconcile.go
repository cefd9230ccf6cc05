package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"millrace/activities/ingest"
	"millrace/internal/control"
)

// Reconcile replays, minute by minute, the batches of the collector and the
// ranges of shards whose workflow was terminated, or failed: no other process works
// on their records, and their history is kept for the retention of the
// namespace only.
func Reconcile(ctx workflow.Context, in ingest.ReconcileInput) error {
	state := ""
	answer := func() (ingest.ReconcileInput, error) { return in, nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, answer); err != nil {
		return fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	setState(ctx, &state, control.StateRunning)
	for !workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
		if err := ingest.ReconcileBatches.Execute(workflow.WithActivityOptions(ctx, reconcileOptions), in).Get(ctx, &in); err != nil {
			return fmt.Errorf("reconcile ingest batches: %w", err)
		}
		workflow.SetCurrentDetails(ctx, fmt.Sprintf("%d batches were replayed; those that closed up to %s are done.",
			in.Replayed, in.Since.Format("2006-01-02 15:04:05 UTC")))
		if err := workflow.Sleep(ctx, reconcileEvery); err != nil {
			return err
		}
	}
	return workflow.NewContinueAsNewError(ctx, Reconcile, in)
}
