package recovery

import (
	"context"
	"strings"

	"millrace/internal/control"
	"millrace/internal/longcall"
	"millrace/internal/telemetry"
)

// checkpoints returns where each shard of the stream is. One without a workflow
// is not named.
func (r *Recoverer) checkpoints(ctx context.Context) (map[string]telemetry.Checkpoint, error) {
	shards, err := r.Shards.Shards(ctx)
	if err != nil {
		return nil, err
	}
	reached := map[string]telemetry.Checkpoint{}
	for _, shard := range shards {
		at, known, err := r.Workflows.Reached(ctx, r.Stream, shard.ID)
		if err != nil {
			return nil, err
		}
		if known {
			reached[shard.ID] = at
		}
	}
	return reached, nil
}

// HoldInput is a hold for all shards of the stream.
type HoldInput struct {
	Hold control.Hold `json:"hold"`
	// Renew: they are paused already. Their checkpoints are not asked for.
	Renew bool `json:"renew,omitempty"`
}

// HoldShards pauses all shards and waits until they have drained, or renews
// that. It returns their checkpoints.
func (r *Recoverer) HoldShards(ctx context.Context, in HoldInput) (map[string]telemetry.Checkpoint, error) {
	defer longcall.Heartbeat(ctx, func() any { return "pausing all shards" })()
	if err := r.command(ctx, control.Command{Name: control.CommandPause, Hold: in.Hold}); err != nil || in.Renew {
		return nil, err
	}
	return r.checkpoints(ctx)
}

// refusePaused refuses a recovery whose shards, or ProcessStream, are paused in Temporal,
// before anything is changed: they say neither how far they are nor obey the pause that
// comes first.
func (r *Recoverer) refusePaused(ctx context.Context) error {
	shards, err := r.Shards.Shards(ctx)
	if err != nil {
		return err
	}
	ids := make([]string, len(shards))
	for i, shard := range shards {
		ids[i] = shard.ID
	}
	paused, err := r.Workflows.Paused(ctx, r.Stream, ids)
	if err != nil {
		return err
	}
	if len(paused) > 0 {
		return invalid("a recovery asks all shards how far they are, and pauses them: %s", strings.Join(paused, "; "))
	}
	return nil
}

// ReleaseShards lets all shards go on, unless another owner holds them.
func (r *Recoverer) ReleaseShards(ctx context.Context, hold control.Hold) error {
	defer longcall.Heartbeat(ctx, func() any { return "resuming all shards" })()
	return r.command(ctx, control.Command{Name: control.CommandResume, Hold: hold})
}

// command tells all shards, through ProcessStream if that runs, so that also
// those know that are started later.
func (r *Recoverer) command(ctx context.Context, command control.Command) error {
	running, err := r.Workflows.CommandStream(ctx, r.Stream, command)
	if err != nil || running {
		return err
	}
	shards, err := r.Shards.Shards(ctx)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if err := r.Workflows.Command(ctx, r.Stream, shard.ID, command); err != nil {
			return err
		}
	}
	return nil
}
