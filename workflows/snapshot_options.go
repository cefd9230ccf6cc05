package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"
)

// Of SnapshotIndex and EnforceRetention.
const (
	// listedWithin is how long Temporal may take to list a workflow that was
	// started: many times what it does.
	listedWithin = 5 * time.Second

	// The waits between two looks at a snapshot: a tenth of the time that has
	// passed, within these.
	firstLook, longestLook = time.Second, 5 * time.Minute

	// trimFor bounds how long documents are deleted one by one in a run: most of a
	// night. The next run takes the rest.
	trimFor = 6 * time.Hour

	// leastPatience is what an activity has at the least, however late it is.
	leastPatience = time.Minute
)

// snapshotOptions leave a cluster that is busy the time to answer, and a shard
// list of thousands the time to be asked for. How long it is tried is up to
// the run.
var snapshotOptions = workflow.ActivityOptions{
	TaskQueue: SnapshotQueue, StartToCloseTimeout: 10 * time.Minute, HeartbeatTimeout: 30 * time.Second,
	RetryPolicy: forEver,
}

// trimOptions are for TrimIndices, which ends unprompted; when it is tried again it
// begins with what is left.
var trimOptions = workflow.ActivityOptions{
	TaskQueue: SnapshotQueue, StartToCloseTimeout: trimFor + 10*time.Minute, ScheduleToCloseTimeout: retentionWithin,
	HeartbeatTimeout: 30 * time.Second, WaitForCancellation: true, RetryPolicy: forEver, Summary: "delete documents past their retention",
}
