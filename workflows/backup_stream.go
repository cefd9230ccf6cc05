package workflows

import (
	"go.temporal.io/sdk/workflow"
)

// BackupStream has a BackupShard started for each shard of a stream, also for
// those that come with resharding. It is a consumer of its own: processing may
// stand still, be paused or be stopped, and the backup goes on. Pausing it
// pauses all its shards; canceling it cancels and drains all of them.
//
// Its history grows as that of ProcessStream: by six events for each call of
// SuperviseShards, 864 a day while nothing changes.
func BackupStream(ctx workflow.Context, in StreamInput) error {
	return consume(ctx, in, consumer{BackupStream, BackupQueue, DefaultBackupFor})
}
