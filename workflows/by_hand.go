package workflows

import (
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/internal/telemetry"
)

// Operators can complete an activity by hand (temporal activity complete), often with
// {}, or with a result that they copied from another call. A workflow that believed it
// would take records for indexed that are not. So each looks for what the result of its
// own call says, and makes the call again if that is missing.

// byHandChange is the version from which on results are ignored that were believed.
const byHandChange = "ignore-results-by-hand"

// CompletedByHand is the type of the error of a recovery that believes no result by
// hand, and cannot make the call again: what it would lack is not known.
const CompletedByHand = "CompletedByHand"

// ignore logs that a result is not one of a worker, and reports whether to ignore it:
// a run that has believed one replays as it was.
func ignore(ctx workflow.Context, activity string) bool {
	if workflow.GetVersion(ctx, byHandChange, workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return false
	}
	workflow.GetLogger(ctx).Warn("ignoring a result that is not of this call: it was completed by hand", "activity", activity)
	return true
}

// refuseByHand is the error for a step that was completed by hand.
func refuseByHand(activity string) error {
	return temporal.NewNonRetryableApplicationError(
		activity+" was completed by hand, and its result lacks what a worker would say: start the recovery again", CompletedByHand, nil)
}

// isOwnResult reports whether a result is that of a call which began at a checkpoint: a
// shard would go on elsewhere, and leave out what lies between. Workers of an earlier
// version do not say where a call began, but always who they are.
func isOwnResult(ctx workflow.Context, from *telemetry.Checkpoint, at telemetry.Checkpoint, worker string) bool {
	if worker != "" && (from == nil || from.Sequence == at.Sequence) {
		return true
	}
	workflow.GetLogger(ctx).Warn("ignoring a result that is not of this call: it was completed by hand", "checkpoint", at.Sequence, "worker", worker)
	return false
}
