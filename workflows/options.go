package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Named timeouts and retry policies, workflow by workflow.

// Of ProcessStream, ProcessShard and ProcessBatch. What they do must succeed
// in the end, so no policy here bounds attempts; an operator sees what is
// tried again and again, and why.
const (
	// DefaultCallFor is how long one call of IndexShard takes: long enough for
	// Temporal to cost next to nothing (1,728 events a day and shard), short
	// enough for workers that join to get their share.
	DefaultCallFor = 5 * time.Minute

	// TakeoverAfter is how long a worker may be silent until another one takes
	// over its shard, or its attempt at a range: a little more than three heartbeats, see longcall.HeartbeatEvery.
	TakeoverAfter = 13500 * time.Millisecond

	// superviseFor is how long one call of SuperviseShards takes when nothing
	// changes.
	superviseFor = 10 * time.Minute

	// A shard whose circuit is open probes after firstProbe, and then ever more
	// rarely.
	firstProbe, longestProbe = 15 * time.Second, 5 * time.Minute

	// DefaultBatchAttempts is how often a ProcessBatch tries a record before
	// it goes to the ledger (the seed: 10 retries).
	DefaultBatchAttempts = 10

	// DefaultBatchAge is how long a record may wait between those attempts in
	// all. It matters where an operator has allowed more of them.
	DefaultBatchAge = 24 * time.Hour

	// mostNodes bounds the tree of a ProcessBatch, which is handed from run to run
	// and answered to queries, where 2 MiB is the most: while it has as many nodes,
	// only halves of what cannot be attributed are added, which have more than 32
	// records each. So of the 8,000 records of a bulk it has less than 1,000 nodes
	// of 750 bytes. A run ends as soon as Temporal suggests it, at 4,096 events or
	// 4 MiB: 10,000 records that are all poison are tried ten times in seven runs
	// of about 4,100 events and 1 MiB.
	mostNodes = 512

	// The waits between attempts, doubled from one to the next: 20
	// minutes in all.
	firstBatchWait, longestBatchWait = 5 * time.Second, 5 * time.Minute
)

var forEver = &temporal.RetryPolicy{InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 10 * time.Second}

// indexShardOptions are for a call of IndexShard, which bounds its own time: the
// timeout is for one that hangs and yet sends heartbeats.
func indexShardOptions(callFor time.Duration) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue: IndexQueue, StartToCloseTimeout: callFor + 10*time.Minute, HeartbeatTimeout: TakeoverAfter,
		WaitForCancellation: true, RetryPolicy: forEver, Summary: "index the shard for a while",
	}
}

func superviseOptions(queue string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue: queue, StartToCloseTimeout: superviseFor + 10*time.Minute, HeartbeatTimeout: time.Minute,
		WaitForCancellation: true, RetryPolicy: forEver, Summary: "look after the shards",
	}
}

// commandOptions leave shards the time to drain.
func commandOptions(queue string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue: queue, StartToCloseTimeout: 10 * time.Minute, HeartbeatTimeout: 30 * time.Second,
		RetryPolicy: forEver, Summary: "tell all shards",
	}
}

var (
	// attemptOptions have room for Elasticsearch to be down: an attempt waits
	// for it inside the activity, in a slot that nothing else needs.
	attemptOptions = workflow.ActivityOptions{
		TaskQueue: RangeQueue, StartToCloseTimeout: 24 * time.Hour, HeartbeatTimeout: TakeoverAfter,
		WaitForCancellation: true, RetryPolicy: forEver,
	}
	// rangeOptions are for what has no need of Elasticsearch: to bury a range,
	// to copy it, to release the copy.
	rangeOptions = workflow.ActivityOptions{
		TaskQueue: ProcessQueue, StartToCloseTimeout: 24 * time.Hour, HeartbeatTimeout: TakeoverAfter,
		WaitForCancellation: true, RetryPolicy: forEver,
	}
)

// DefaultBackupFor is how long a worker keeps the backup of a shard: a few
// objects at Firehose's 5 minutes, since a call ends with one.
const DefaultBackupFor = 15 * time.Minute

// copyShardOptions are for a call of CopyShard, which bounds its own time: within
// the time that an object may wait, after its own.
func copyShardOptions(callFor time.Duration) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue: CopyQueue, StartToCloseTimeout: callFor + 30*time.Minute, HeartbeatTimeout: TakeoverAfter,
		WaitForCancellation: true, RetryPolicy: forEver, Summary: "back the shard up for a while",
	}
}

// Of IngestBatch, Reconcile and Redrive.
const (
	// putTimeout bounds the first attempt, putWait that and the wait for a slot
	// in the worker: to less than 80 % of a workflow task's timeout of 10 s.
	// From there on the SDK would keep each task alive by an event every 8 s,
	// which is the last thing that a busy Temporal needs. FinishBatch takes
	// over, and waits without any.
	putTimeout, putWait = 6 * time.Second, 7 * time.Second

	// reconcileEvery is how often closed batches are looked for: many times
	// within the shortest retention of a namespace, one day.
	reconcileEvery = time.Minute
)

var (
	// putBatchOptions make one attempt: what it leaves decides what follows.
	putBatchOptions = workflow.LocalActivityOptions{
		StartToCloseTimeout: putTimeout, ScheduleToCloseTimeout: putWait,
		RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}, Summary: "put into the stream, or the queue",
	}
	finishBatchOptions = workflow.ActivityOptions{
		TaskQueue: IngestQueue, StartToCloseTimeout: 24 * time.Hour, HeartbeatTimeout: 30 * time.Second,
		WaitForCancellation: true, RetryPolicy: forEver, Summary: "go on until the rest is durable",
	}
	reconcileOptions = workflow.ActivityOptions{
		TaskQueue: IngestQueue, StartToCloseTimeout: time.Hour, HeartbeatTimeout: time.Minute,
		RetryPolicy: forEver, Summary: "replay batches that were closed unfinished",
	}
)

// redriveOptions are for a call of RedriveMessages, which bounds its own time.
func redriveOptions(callFor time.Duration) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue: RedriveQueue, StartToCloseTimeout: callFor + 10*time.Minute, HeartbeatTimeout: 30 * time.Second,
		WaitForCancellation: true, RetryPolicy: forEver, Summary: "put what is queued into the stream",
	}
}

// Of KeepDeadLetters and ReprocessDeadLetters.
const (
	// DefaultSettleFor is how long nothing may be seen of records that were
	// ingested again: longer than a stream throttles, or a shard waits for a
	// worker, in the usual run of things.
	DefaultSettleFor = 10 * time.Minute

	// keepFirstFor bounds the look into the dead-letter queue before its letters
	// are reprocessed.
	keepFirstFor = time.Minute
)

// drainOptions are for a call of DrainParked, which ends unprompted unless
// Elasticsearch is down: then a slice waits for it.
func drainOptions(callFor time.Duration) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue: DeadQueue, StartToCloseTimeout: callFor + 10*time.Minute, HeartbeatTimeout: 30 * time.Second,
		WaitForCancellation: true, RetryPolicy: forEver, Summary: "bring parked records home",
	}
}

// keepOptions are for a call of KeepLetters, which bounds its own time.
func keepOptions(callFor time.Duration) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue: DeadQueue, StartToCloseTimeout: callFor + 10*time.Minute, HeartbeatTimeout: 30 * time.Second,
		WaitForCancellation: true, RetryPolicy: forEver, Summary: "take dead letters into the ledger",
	}
}

var (
	keepFirstOptions = workflow.ActivityOptions{
		TaskQueue: DeadQueue, StartToCloseTimeout: 2 * keepFirstFor, HeartbeatTimeout: 30 * time.Second,
		RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 3}, Summary: "take dead letters into the ledger",
	}
	// reprocessOptions have room for Elasticsearch to be down: a portion waits
	// for it inside the activity.
	reprocessOptions = workflow.ActivityOptions{
		TaskQueue: DeadQueue, StartToCloseTimeout: 24 * time.Hour, HeartbeatTimeout: TakeoverAfter,
		WaitForCancellation: true, RetryPolicy: forEver, Summary: "reprocess entries for a while",
	}
)

// probeOptions are for ProbeCollectors, which bounds its own time. It is tried again only
// where its worker has died or stopped, for as long as the run may take.
func probeOptions(ctx workflow.Context, in CanaryInput) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: CanaryQueue, StartToCloseTimeout: in.Within + 10*time.Second, HeartbeatTimeout: TakeoverAfter,
		ScheduleToCloseTimeout: in.Timeout(), RetryPolicy: forEver, Summary: "post a record to each collector, and wait until it can be searched",
	})
}

// dropOptions bound how long it is tried to delete: the next run tries again.
func dropOptions(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: CanaryQueue, StartToCloseTimeout: 10 * time.Second, ScheduleToCloseTimeout: 30 * time.Second,
		RetryPolicy: forEver, Summary: "delete the canary's old indices",
	})
}
