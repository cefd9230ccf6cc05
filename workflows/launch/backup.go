package launch

import (
	"context"

	"millrace/activities/supervise"
	"millrace/internal/control"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// Backup starts and steers the BackupShard workflows of a stream, as
// Launcher does those of its processing.
type Backup struct{ Launcher }

// Start starts the BackupShard of a shard: at the beginning of what the stream
// keeps, or where an earlier run, that was closed, had come to.
func (l Backup) Start(ctx context.Context, start supervise.ShardStart) error {
	id := workflows.BackupShardID(start.Stream.Name, start.Stream.Created, start.Shard)
	last, err := lastStatus(ctx, l.Launcher, id, func(in workflows.BackupShardInput) workflows.BackupShardStatus {
		return workflows.BackupShardStatus{Checkpoint: in.Checkpoint, Counts: in.Counts}
	})
	if err != nil {
		return err
	}
	return l.start(ctx, workflows.BackupQueue, id, "backup", start.Shard, "backup of shard "+start.Shard+" of "+start.Stream.Name,
		workflows.BackupShard, workflows.BackupShardInput{
			Stream: start.Stream, Shard: start.Shard, Checkpoint: last.Checkpoint, Counts: last.Counts,
			Holds: start.Holds, CallFor: start.CallFor,
		})
}

// Look returns the state of the workflow of a shard; empty if it has none.
func (l Backup) Look(ctx context.Context, stream telemetry.StreamID, shard string) (string, error) {
	return l.look(ctx, workflows.BackupShardID(stream.Name, stream.Created, shard))
}

// Command pauses, resumes or cancels the workflow of a shard, and waits until
// that is done. That it does not run is success.
func (l Backup) Command(ctx context.Context, stream telemetry.StreamID, shard string, command control.Command) error {
	return l.commandIfRunning(ctx, workflows.BackupShardID(stream.Name, stream.Created, shard), command)
}

// Reached returns the checkpoint of a shard's backup; zero if it has none.
func (l Backup) Reached(ctx context.Context, stream telemetry.StreamID, shard string) (telemetry.Checkpoint, error) {
	status, err := l.ShardStatus(ctx, stream, shard)
	if isNotFound(err) {
		return telemetry.Checkpoint{}, nil
	}
	return status.Checkpoint, err
}

// ShardStatus returns the status of a shard's workflow, and while CopyShard
// runs, how far that is by its last heartbeat.
func (l Backup) ShardStatus(ctx context.Context, stream telemetry.StreamID, shard string) (workflows.BackupShardStatus, error) {
	return liveStatus(ctx, l.Launcher, workflows.BackupShardID(stream.Name, stream.Created, shard), (*workflows.BackupShardStatus).Merge, (*workflows.BackupShardStatus).PauseBy)
}
