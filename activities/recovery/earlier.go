package recovery

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"millrace/internal/backup"
	"millrace/internal/telemetry"
)

// others are the shards of a plan's window that the stream does not list any more:
// drained ones of it, and those of earlier streams of its name. Nothing comes to
// their chains. Those of which the window does not know are found by their objects,
// and as there may be none, by who processed them.
func (r *Recoverer) others(ctx context.Context, plan Plan) (shards []backup.Shard, err error) {
	w, known := plan.Window, map[backup.Shard]bool{}
	of := func(created time.Time, id string) backup.Shard {
		return backup.Shard{Stream: w.Stream, Created: time.Unix(created.Unix(), 0).UTC(), ID: id}
	}
	listed, err := r.Shards.Shards(ctx)
	if err != nil {
		return nil, err
	}
	for _, shard := range listed {
		known[of(w.Created, shard.ID)] = true
	}
	for id := range w.Shards {
		known[of(w.Created, id)] = true
	}
	for _, earlier := range w.Earlier {
		for id, spans := range earlier.Shards {
			if known[of(earlier.Created, id)] = true; len(spans) > 0 {
				shards = append(shards, of(earlier.Created, id))
			}
		}
	}
	found, err := backup.Chains(ctx, r.Backup(plan.Prefix), w)
	if err != nil {
		return nil, err
	}
	processed, err := r.History.ProcessedShards(ctx, w.Stream)
	for _, shard := range processed {
		found = append(found, of(shard.StreamCreated, shard.Shard))
	}
	for _, shard := range found {
		if !known[shard] {
			shards, known[shard] = append(shards, shard), true
		}
	}
	return shards, err
}

// lookAtOthers finds those of others whose backup is not known to have all that was
// processed of them.
func (r *Recoverer) lookAtOthers(ctx context.Context, plan Plan, found *backlog) error {
	others, err := r.others(ctx, plan)
	if err != nil {
		return err
	}
	reached, err := r.reachedBy(ctx, plan, others)
	if err != nil {
		return err
	}
	for _, shard := range others {
		last, seen := reached[shard]
		whole, err := r.isWhole(ctx, plan, shard, last)
		if err != nil {
			return err
		}
		gap := Gap{Shard: shard.ID, Sequence: last.Last, Records: -1, Reason: fmt.Sprintf(
			"the backup of this shard of the stream of %s has come neither to its end nor, as far as is known, to what was processed of it",
			shard.Created.Format(time.RFC3339),
		)}
		switch {
		case whole:
		case seen:
			found.others = append(found.others, gap)
		default:
			found.unseen = append(found.unseen, gap)
		}
	}
	if !found.ours && len(found.chains) == 0 && len(found.unseen) > 0 {
		found.firehose, err = r.undelivered(ctx, plan)
	}
	return err
}

// reachedBy is how far the chains of some shards have come that have an object in
// the time of a plan.
func (r *Recoverer) reachedBy(ctx context.Context, plan Plan, shards []backup.Shard) (map[backup.Shard]backup.Meta, error) {
	ids := map[time.Time][]string{}
	for _, shard := range shards {
		ids[shard.Created] = append(ids[shard.Created], shard.ID)
	}
	reached := map[backup.Shard]backup.Meta{}
	for created, ids := range ids {
		metas, err := backup.Reached(ctx, r.Backup(plan.Prefix), plan.Window.Stream, created, ids, firstArrival(plan.Window))
		if err != nil {
			return nil, err
		}
		for id, meta := range metas {
			reached[backup.Shard{Stream: plan.Window.Stream, Created: created, ID: id}] = meta
		}
	}
	return reached, nil
}

// firstArrival is how early a record that a window wants may have arrived.
func firstArrival(w backup.Window) time.Time {
	if w.From.IsZero() {
		return w.From
	}
	return w.From.Add(-w.Reach)
}

// isWhole reports whether the backup of a shard, of which nothing is read any more,
// has what is wanted: it came to the shard's end, or the window's, or to what was
// processed. Other records are in no index.
func (r *Recoverer) isWhole(ctx context.Context, plan Plan, shard backup.Shard, last backup.Meta) (bool, error) {
	w := plan.Window
	if passed, err := r.passed(ctx, shard, telemetry.Checkpoint{}, last, w.To); passed || err != nil || shard.Created.After(w.To) {
		return passed || err == nil, err
	}
	spans, known := w.Spans(shard)
	if known && !slices.ContainsFunc(spans, func(s backup.Span) bool { return s.Until == "" }) {
		return hasAll(last, spans, ""), nil
	}
	at, answered, err := r.Workflows.Reached(ctx, telemetry.StreamID{Name: shard.Stream, Created: shard.Created}, shard.ID)
	if err != nil { // its workflow has ended long ago
		slog.WarnContext(ctx, "how far a shard was processed is unknown", "shard", shard.ID, "stream", shard.Created, "error", err)
	}
	switch {
	case err != nil || !answered:
		return false, ctx.Err()
	case known:
		return hasAll(last, spans, at.Sequence), nil
	case at.ReadUpTo.Before(w.From) && !at.ReadUpTo.IsZero(): // nothing of the window
		return true, nil
	}
	return hasAll(last, []backup.Span{{}}, at.Sequence), nil
}

// hasAll reports whether the last object of a chain has all of some stretches that
// was processed, by what is known of stretches without an end.
func hasAll(last backup.Meta, of []backup.Span, processed string) bool {
	for _, s := range of {
		until := cmp.Or(s.Until, processed)
		if telemetry.ComparePositions(until, s.After) > 0 && telemetry.ComparePositions(until, last.Last) > 0 {
			return false
		}
	}
	return true
}
