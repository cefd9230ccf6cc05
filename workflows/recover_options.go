package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"millrace/activities/recovery"
)

// Of Recover and Replay.
const (
	// DefaultLease is how long the shards stay paused when the recovery is not
	// heard of any more. It is renewed three times as often.
	DefaultLease = 5 * time.Minute
	leastLease   = 5 * time.Second

	// DefaultLanes is how many pages of the list are worked on at once.
	DefaultLanes = 2
	mostLanes    = 64

	// DefaultSweepFor is how long one call of SweepObjects takes: as often, the
	// workflow learns how far it is, and its history grows by six events.
	DefaultSweepFor = 30 * time.Second
	leastSweepFor   = time.Second

	// DefaultBackupWait is how long verify waits for the backup to pass the
	// window's end: three times what it buffers at the most.
	DefaultBackupWait = 45 * time.Minute

	// mostMissing is how much of what is missing stands in results. All of it is
	// in the bucket.
	mostMissing = 100
)

var (
	// planOptions have time to list a million objects.
	planOptions = workflow.ActivityOptions{
		TaskQueue: RecoverQueue, StartToCloseTimeout: 2 * time.Hour, HeartbeatTimeout: time.Minute,
		RetryPolicy: forEver, Summary: "choose snapshot, indices and window, list the backup",
	}
	// holdOptions leave shards the time to drain.
	holdOptions = workflow.ActivityOptions{
		TaskQueue: RecoverQueue, StartToCloseTimeout: 10 * time.Minute, HeartbeatTimeout: 30 * time.Second,
		RetryPolicy: forEver, Summary: "pause all shards, or renew that",
	}
	releaseOptions = workflow.ActivityOptions{
		TaskQueue: RecoverQueue, StartToCloseTimeout: 10 * time.Minute, HeartbeatTimeout: 30 * time.Second,
		RetryPolicy: forEver, Summary: "resume all shards",
	}
	restoreOptions = workflow.ActivityOptions{
		TaskQueue: RecoverQueue, StartToCloseTimeout: 7 * 24 * time.Hour, HeartbeatTimeout: TakeoverAfter,
		WaitForCancellation: true, RetryPolicy: forEver, Summary: "restore the snapshot",
	}
	concludeOptions = workflow.ActivityOptions{
		TaskQueue: RecoverQueue, StartToCloseTimeout: 5 * time.Minute, RetryPolicy: forEver, Summary: "write the result",
	}
)

// sweepOptions are for a call of SweepObjects, which bounds its own time.
func sweepOptions(stage string, callFor time.Duration) workflow.ActivityOptions {
	summary := "index what is in the backup"
	if stage == recovery.SweepVerify {
		summary = "compare index and backup"
	}
	return workflow.ActivityOptions{
		TaskQueue: SweepQueue, StartToCloseTimeout: callFor + 10*time.Minute, HeartbeatTimeout: TakeoverAfter,
		WaitForCancellation: true, RetryPolicy: forEver, Summary: summary,
	}
}

// awaitOptions are for a wait for the backup, and the list that comes after it.
func awaitOptions(wait time.Duration) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue: RecoverQueue, StartToCloseTimeout: wait + 2*time.Hour, HeartbeatTimeout: time.Minute,
		RetryPolicy: forEver, Summary: "wait for the backup to pass the window's end",
	}
}
