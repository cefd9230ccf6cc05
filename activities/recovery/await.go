package recovery

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"millrace/internal/backoff"
	"millrace/internal/backup"
	"millrace/internal/longcall"
	"millrace/internal/telemetry"
)

// AwaitInput says how long to wait for the backup.
type AwaitInput struct {
	Papers  string         `json:"papers"`
	For     time.Duration  `json:"for"`
	Request RecoverRequest `json:"request"`
	// Put is when the last record was put into the stream: the shards are waited
	// for, too. Zero: none was.
	Put time.Time `json:"put,omitzero"`
}

// AwaitResult is the list that verify works on.
type AwaitResult struct {
	Passed  bool  `json:"passed"` // the window's end
	Gaps    []Gap `json:"gaps,omitempty"`
	Pages   int   `json:"pages"`
	Objects int64 `json:"objects"`
	Records int64 `json:"records"`
}

const (
	// lookEvery is how often is looked how far the backup is.
	lookEvery = 3 * time.Second
	// DefaultDelivery is after how long Firehose has written what had arrived: it
	// buffers for 15 minutes at the most. The objects that it wrote must bear that
	// out.
	DefaultDelivery = 20 * time.Minute
)

// AwaitBackup waits until the backup has passed the end of a plan's window, and
// the shards what the backfill has put into the stream, or the time is over. Then
// it lists anew what there is to verify.
func (r *Recoverer) AwaitBackup(ctx context.Context, in AwaitInput) (AwaitResult, error) {
	defer longcall.Heartbeat(ctx, func() any { return "waiting for the backup" })()
	plan, err := readPlan(ctx, r.Bucket, in.Papers)
	if err != nil {
		return AwaitResult{}, err
	}
	var result AwaitResult
	var found backlog
	began := time.Now()
	if activity.IsActivity(ctx) {
		began = activity.GetInfo(ctx).ScheduledTime // a retry does not begin anew
	}
	for {
		if found, err = r.look(ctx, plan); err != nil {
			return result, err
		}
		var behind []string
		if !in.Put.IsZero() {
			if behind, err = r.unread(ctx, in.Put); err != nil {
				return result, err
			}
		}
		if result.Passed = len(found.growing(plan)) == 0; result.Passed && len(behind) == 0 {
			break
		}
		if time.Since(began) > in.For {
			// What they have not come to is indexed by verify.
			slog.Warn("the backup or the shards have not passed the backfill in time", "id", plan.ID, "shards", len(behind), "gaps", len(found.growing(plan)))
			break
		}
		if !backoff.Wait(ctx, lookEvery) {
			return result, ctx.Err()
		}
	}
	if err := r.lookAtOthers(ctx, plan, &found); err != nil {
		return result, err
	}
	breaks := backup.FindBreaks(r.Backup(plan.Prefix), plan.Window)
	listed, err := r.freeze(ctx, plan, in.Request.Inventory, SweepVerify, true, breaks)
	if err != nil {
		return result, err
	}
	broken, err := breaks.End(ctx)
	if err != nil {
		return result, err
	}
	if result.Gaps, err = r.writeBreaks(ctx, plan, SweepVerify, found.gaps(plan), broken); err != nil {
		return result, err
	}
	result.Pages, result.Objects, result.Records = listed.Pages, listed.Objects, listed.Records
	return result, nil
}

// writeBreaks writes down where the chains of a backup are broken, by the list of
// a stage, and adds the first of that to other gaps.
func (r *Recoverer) writeBreaks(ctx context.Context, plan Plan, stage string, gaps []Gap, found []backup.Break) ([]Gap, error) {
	if len(found) == 0 {
		return gaps, nil
	}
	missing := make([]Gap, len(found))
	for n, b := range found {
		missing[n] = Gap{Object: plan.Prefix + b.Key, Shard: b.Shard, Sequence: b.Behind, Records: -1, Reason: "before it: " + b.Reason}
	}
	key := plan.Papers + stage + "/missing/chains.ndjson"
	if err := r.Bucket.Put(ctx, key, encodeLines(missing)); err != nil {
		return nil, fmt.Errorf("write where the backup is broken: %w", err)
	}
	gaps = append(gaps, missing[:min(len(missing), mostGaps)]...)
	if more := len(missing) - mostGaps; more > 0 {
		gaps = append(gaps, Gap{Object: key, Records: -1, Reason: fmt.Sprintf("the backup is broken at %d places more", more)})
	}
	return gaps, nil
}

// backlog is what of a window the backup is not known to have.
type backlog struct {
	ours     bool  // BackupStream writes it, as far as is known
	chains   []Gap // of shards whose objects are not known to come to the window's end
	firehose []Gap // the same, if Firehose writes it
	others   []Gap // of shards that the stream does not list any more, see others
	unseen   []Gap // of those without an object
}

// growing are those gaps that may close while they are waited for, by who wrote the
// objects of a plan's window. What only earlier recoveries have gone through says
// nothing about that.
func (b backlog) growing(plan Plan) []Gap {
	if b.isFirehoses(plan) {
		return b.firehose
	}
	return b.chains
}

// gaps are all that count for a plan.
func (b backlog) gaps(plan Plan) []Gap {
	gaps := slices.Concat(b.growing(plan), b.others)
	if b.isFirehoses(plan) {
		return gaps
	}
	return append(gaps, b.unseen...)
}

func (b backlog) isFirehoses(plan Plan) bool { return !b.ours && plan.Foreign > 0 }

// look finds the shards whose backup has not come to the window's end: by
// sequence number where that is known, and of others that the stream has by time.
// The shards of a replay have no end.
func (r *Recoverer) look(ctx context.Context, plan Plan) (found backlog, err error) {
	listed, err := r.Shards.Shards(ctx)
	if err != nil {
		return found, err
	}
	ends, positions := map[string]string{}, map[string]telemetry.Checkpoint{} // by shard
	for name, spans := range plan.Window.Shards {
		if end := lastOf(spans); end != "" {
			ends[name] = end
		}
	}
	for _, shard := range listed {
		if _, known := plan.Window.Shards[shard.ID]; !known {
			positions[shard.ID] = r.backedUp(ctx, shard.ID) // before it is listed: by then it has as much
		}
	}
	names := slices.Sorted(maps.Keys(ends))
	names = append(names, slices.Sorted(maps.Keys(positions))...)
	reached, err := backup.Reached(ctx, r.Backup(plan.Prefix), plan.Window.Stream, plan.Window.Created, names, firstArrival(plan.Window))
	if err != nil {
		return found, err
	}
	found.ours = len(reached) > 0
	for _, name := range names {
		last, end := reached[name], ends[name]
		passed := last.Last != "" && telemetry.ComparePositions(last.Last, end) >= 0
		if at, byTime := positions[name]; byTime {
			found.ours, end = found.ours || at.Sequence != "", plan.Window.To.UTC().Format(time.RFC3339)
			shard := backup.Shard{Stream: plan.Window.Stream, Created: plan.Window.Created, ID: name}
			if passed, err = r.passed(ctx, shard, at, last, plan.Window.To); err != nil {
				return found, err
			}
		}
		if !passed {
			found.chains = append(found.chains, Gap{Shard: name, Sequence: last.Last, Records: -1, Reason: "the backup has not come to the window's end at " + end})
		}
	}
	if !found.ours && len(found.chains) > 0 {
		found.firehose, err = r.undelivered(ctx, plan)
	}
	return found, err
}

// undelivered returns a gap unless Firehose has come to the window's end, as far as
// that can be known: it has had the time, and has begun an object behind it.
func (r *Recoverer) undelivered(ctx context.Context, plan Plan) ([]Gap, error) {
	to := plan.Window.To
	began, err := backup.DeliveredBehind(ctx, r.Backup(plan.Prefix), to)
	late := time.Since(to) > cmp.Or(r.Delivery, DefaultDelivery)
	if err != nil || began && late {
		return nil, err
	}
	reason := "it cannot be known whether Firehose has delivered all: none of its objects begins behind the window's end at "
	if began {
		reason = "Firehose has not had the time to deliver all up to the window's end at "
	}
	return []Gap{{Records: -1, Reason: reason + to.UTC().Format(time.RFC3339)}}, nil
}

// lastOf is the end of the last of some stretches; empty: nothing is wanted.
func lastOf(spans []backup.Span) (until string) {
	for _, span := range spans {
		if until == "" || telemetry.ComparePositions(span.Until, until) > 0 {
			until = span.Until
		}
	}
	return until
}

// backedUp is how far the backup of a shard is, as its writer reports;
// zero without an answer.
func (r *Recoverer) backedUp(ctx context.Context, shard string) telemetry.Checkpoint {
	at, err := r.Positions.Reached(ctx, r.Stream, shard)
	if err != nil {
		slog.WarnContext(ctx, "the position of the backup is unknown", "shard", shard, "error", err)
		return telemetry.Checkpoint{}
	}
	return at
}

// passed reports whether the backup of a shard has come to a time. By the word of
// who writes it, if the last object since the window began is there; or because
// that is of later, or the shard had no more.
func (r *Recoverer) passed(ctx context.Context, shard backup.Shard, at telemetry.Checkpoint, last backup.Meta, to time.Time) (bool, error) {
	whole := last.Last == "" || telemetry.ComparePositions(last.Last, at.Sequence) >= 0
	if hasPassed(at, to) && whole || last.Oldest.After(to) {
		return true, nil
	}
	end, ended, err := backup.Ended(ctx, r.Backup(backup.EndsPrefix), shard)
	return ended && (last.Last == "" || last.Last == end), err
}
