package workflows

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/converter"

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

// Live returns what the present call of IndexShard says of how its worker does;
// false if there is none.
func (l Launcher) Live(ctx context.Context, stream activities.StreamID, shard string) (live activities.LiveDelay, running bool, err error) {
	id := ProcessShardID(stream.Name, stream.Created, shard)
	described, err := l.Client.DescribeWorkflowExecution(ctx, id, "")
	if isNotFound(err) {
		return live, false, nil
	}
	if err != nil {
		return live, false, fmt.Errorf("describe %s: %w", id, err)
	}
	for _, pending := range described.GetPendingActivities() {
		var progress activities.Progress
		if details := pending.GetHeartbeatDetails(); details != nil &&
			converter.GetDefaultDataConverter().FromPayloads(details, &progress) == nil {
			return progress.Live, true, nil
		}
	}
	return live, false, nil
}
