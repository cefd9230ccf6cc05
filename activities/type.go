package activities

import (
	"context"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"millrace/internal/telemetry"
)

// Type is an activity type: the name that histories keep, with what the activity
// takes and returns. Workflows execute it and workers register it, so the compiler
// holds both sides to one declaration. A Go method may change its name; a Type may
// not, since open workflows wait for it.
type Type[In, Out any] string

// Execute begins the activity.
func (t Type[In, Out]) Execute(ctx workflow.Context, in In) Future[Out] {
	return Future[Out]{workflow.ExecuteActivity(ctx, string(t), in)}
}

// ExecuteLocal begins it as a local activity.
func (t Type[In, Out]) ExecuteLocal(ctx workflow.Context, in In) Future[Out] {
	return Future[Out]{workflow.ExecuteLocalActivity(ctx, string(t), in)}
}

// Register registers a function as the activity.
func (t Type[In, Out]) Register(r worker.ActivityRegistry, f func(context.Context, In) (Out, error)) {
	r.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: string(t)})
}

// Action is a Type without a result.
type Action[In any] string

// Execute begins the activity.
func (a Action[In]) Execute(ctx workflow.Context, in In) workflow.Future {
	return workflow.ExecuteActivity(ctx, string(a), in)
}

// Register registers a function as the activity.
func (a Action[In]) Register(r worker.ActivityRegistry, f func(context.Context, In) error) {
	r.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: string(a)})
}

// Future is the result of an activity, once there is one.
type Future[Out any] struct{ workflow.Future }

// Get waits for the result and decodes it into out, unless that is nil. Members
// that the result omits keep the value that they have in out.
func (f Future[Out]) Get(ctx workflow.Context, out *Out) error {
	if out == nil {
		return f.Future.Get(ctx, nil) //nolint:wrapcheck // as from the SDK
	}
	return f.Future.Get(ctx, out) //nolint:wrapcheck // as from the SDK
}

// The activity types, by the workflows that execute them. Each task queue's own list is
// in package workers.
const (
	// Of IngestBatch and Reconcile.
	PutBatch         Type[[]byte, PutResult]              = "PutBatch"
	FinishBatch      Type[FinishInput, PutResult]         = "FinishBatch"
	BuryBatch        Action[FinishInput]                  = "BuryBatch"
	ReconcileBatches Type[ReconcileInput, ReconcileInput] = "ReconcileBatches"

	// Of Redrive.
	RedriveMessages Type[RedriveCall, RedriveProgress] = "RedriveMessages"

	// Of ProcessStream and BackupStream.
	SuperviseShards Type[SuperviseInput, SuperviseResult] = "SuperviseShards"
	CommandShards   Action[CommandInput]                  = "CommandShards"

	// Of ProcessShard and ProcessBatch.
	IndexShard  Type[IndexInput, IndexResult] = "IndexShard"
	IndexRange  Type[RangeInput, RangeResult] = "IndexRange"
	BuryRange   Type[RangeInput, RangeResult] = "BuryRange"
	CopyHeld    Type[HeldInput, HeldResult]   = "CopyHeld"
	ReleaseHeld Action[HeldInput]             = "ReleaseHeld"

	// Of BackupShard.
	CopyShard Type[CopyInput, CopyResult] = "CopyShard"

	// Of KeepDeadLetters, ReprocessDeadLetters and DrainIndex.
	KeepLetters      Type[KeepCall, KeepProgress]           = "KeepLetters"
	ReprocessEntries Type[ReprocessCall, ReprocessProgress] = "ReprocessEntries"
	DrainParked      Type[DrainCall, DrainResult]           = "DrainParked"

	// Of Recover and Replay.
	PlanRecovery     Type[PlanInput, Plan]                            = "PlanRecovery"
	HoldShards       Type[HoldInput, map[string]telemetry.Checkpoint] = "HoldShards"
	ReleaseShards    Action[Hold]                                     = "ReleaseShards"
	RestoreIndices   Type[RestoreInput, RestoreProgress]              = "RestoreIndices"
	ExtendWindow     Type[ExtendInput, Plan]                          = "ExtendWindow"
	SweepObjects     Type[SweepInput, SweepProgress]                  = "SweepObjects"
	AwaitBackup      Type[AwaitInput, AwaitResult]                    = "AwaitBackup"
	ConcludeRecovery Action[RecoverResult]                            = "ConcludeRecovery"

	// Of DrillRecovery.
	BeginDrill   Type[DrillCall, DrillBegun]   = "BeginDrill"
	CompareDrill Type[DrillCall, DrillMissing] = "CompareDrill"
	EndDrill     Type[DrillEnd, int]           = "EndDrill"

	// Of SnapshotIndex.
	PlanSnapshot    Type[SnapshotCall, SnapshotPlan]  = "PlanSnapshot"
	BeginSnapshot   Type[SnapshotCall, SnapshotBegun] = "BeginSnapshot"
	FollowSnapshot  Type[SnapshotCall, SnapshotLook]  = "FollowSnapshot"
	AbandonSnapshot Action[SnapshotCall]              = "AbandonSnapshot"
	ExpireSnapshots Type[ExpireCall, Expired]         = "ExpireSnapshots"

	// Of EnforceRetention.
	EnforceRetention Type[RetentionCall, Retirement] = "EnforceRetention"
	TrimIndices      Type[TrimCall, Retirement]      = "TrimIndices"
)
