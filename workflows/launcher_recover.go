package workflows

import (
	"context"
	"fmt"

	"millrace/activities"
	"millrace/internal/telemetry"
)

// CommandStream has ProcessStream pause or resume all shards, and waits until
// that is done; false if it does not run.
func (l Launcher) CommandStream(ctx context.Context, stream activities.StreamID, command activities.Command) (running bool, err error) {
	id := ProcessStreamID(stream.Name)
	err = l.command(ctx, id, command)
	if isNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s %s: %w", command.Name, id, err)
	}
	return true, nil
}

// Reached returns the checkpoint of a shard; false if it has no workflow.
func (l Launcher) Reached(ctx context.Context, stream activities.StreamID, shard string) (telemetry.Checkpoint, bool, error) {
	status, err := l.ShardStatus(ctx, ProcessShardID(stream.Name, stream.Created, shard))
	if isNotFound(err) {
		return telemetry.Checkpoint{}, false, nil
	}
	return status.Checkpoint, err == nil, err
}
