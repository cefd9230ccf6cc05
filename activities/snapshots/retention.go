package snapshots

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"millrace/internal/backup"
	"millrace/internal/index"
	"millrace/internal/longcall"
	"millrace/internal/snapshot"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// RetentionCall says which indices, or documents of them, are to go.
type RetentionCall struct {
	Repository string   `json:"repository"`
	Indices    []string `json:"indices"` // patterns
	// Days is how many days behind its date an index is kept, by type, and
	// behind the day on which it was received a document of an index without one.
	Days   map[string]int `json:"days"`
	DryRun bool           `json:"dryRun,omitempty"`
}

// Retirement is what became of what is past its retention.
type Retirement struct {
	Deleted   []string `json:"deleted,omitempty"`   // indices; or would have been, in a dry run
	Documents int64    `json:"documents,omitempty"` // in those
	Trimmed   []Trim   `json:"trimmed,omitempty"`   // indices that stay
	// Uncovered stay, since neither a good snapshot nor the backup has all of
	// their documents: a text for each says what was looked at.
	Uncovered []string `json:"uncovered,omitempty"`
	More      int      `json:"more,omitempty"` // that the lists do not name
}

// mostRetired bounds what a result names: an operator has given little, and
// the workflow's history has to hold it.
const mostRetired = 200

// retiring is one call that deletes what is past its retention.
type retiring struct {
	*Snapshotter
	in     RetentionCall
	states map[string]index.State
	last   snapshot.Record // the last good one
	result *longcall.Guarded[Retirement]
	stay   int // indices that nothing covers
}

// beginRetiring looks at the indices and the snapshots.
func (s *Snapshotter) beginRetiring(ctx context.Context, in RetentionCall) (*retiring, error) {
	r := &retiring{Snapshotter: s, in: in, result: &longcall.Guarded[Retirement]{}}
	if err := s.Cluster.Refresh(ctx, in.Indices...); err != nil {
		return nil, err
	}
	var err error
	if r.states, err = s.Cluster.Indices(ctx, in.Indices...); err != nil {
		return nil, err
	}
	all, err := snapshot.Open(s.Bucket, in.Repository).List(ctx)
	if err != nil {
		return nil, err
	}
	r.last, _ = snapshot.LastGood(all, time.Time{})
	return r, nil
}

// each does something with all indices that may be past their retention. One
// that fails holds up none behind it.
func (r *retiring) each(ctx context.Context, kept func(telemetry.Period) bool, do func(ctx context.Context, name string, parts telemetry.IndexParts) error) error {
	var failed []error
	for _, name := range index.Names(r.states) {
		parts, ours := telemetry.ParseIndex(name)
		if _, set := r.in.Days[parts.Type]; !ours || !set || !kept(parts.Period) {
			continue
		}
		if err := do(ctx, name, parts); err != nil {
			failed = append(failed, err)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// EnforceRetention deletes the daily indices that are past their retention,
// each only when something else has its documents. What it deletes it writes
// down before, so that snapshots do not miss it. See TrimIndices for the others.
func (s *Snapshotter) EnforceRetention(ctx context.Context, in RetentionCall) (Retirement, error) {
	defer longcall.Heartbeat(ctx, func() any { return in.Repository })()
	r, err := s.beginRetiring(ctx, in)
	if err != nil {
		return Retirement{}, err
	}
	err = r.each(ctx, func(p telemetry.Period) bool { return p == telemetry.Daily }, r.daily)
	countUncovered(wholeIndices, r.stay)
	return r.result.Get(), err
}

// daily deletes an index of a day that is past its retention.
func (r *retiring) daily(ctx context.Context, name string, parts telemetry.IndexParts) error {
	keep, state := r.in.Days[parts.Type], r.states[name]
	if !expired(parts.Begin, keep, time.Now()) {
		return nil
	}
	if state.Documents < 0 {
		r.uncovered(name, notCounted)
		return nil
	}
	came, err := r.Cluster.Received(ctx, name, time.Time{})
	if err != nil {
		return err
	}
	if !came.Last.IsZero() && !expired(came.Last, keep, time.Now()) {
		return nil
	}
	covered, why, err := r.covered(ctx, name, state, came)
	if err != nil {
		return err
	}
	if covered == "" {
		r.uncovered(name, why)
		return nil
	}
	return r.retire(ctx, name, state, covered)
}

// expired reports whether what is of a day, or came on it, is past its
// retention: the last of it may be of the end of that day.
//
// What came goes by received_at, and not by indexed_at: that is the same in
// each copy, while a recovery and reprocessing write indexed_at anew, and would
// keep all that they bring back for another term.
func expired(day time.Time, keep int, now time.Time) bool {
	return !oldest(keep, now).Before(midnight(day).AddDate(0, 0, 1))
}

// oldest is the time from which on is kept what was received.
func oldest(keep int, now time.Time) time.Time { return midnight(now).AddDate(0, 0, -keep) }

func midnight(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

func (r *retiring) uncovered(name, why string) {
	r.stay++
	r.result.Change(func(result *Retirement) {
		result.Uncovered = result.name(result.Uncovered, name+": "+why)
	})
}

func (r *Retirement) name(list []string, text string) []string {
	if len(list) >= mostRetired {
		r.More++
		return list
	}
	return append(list, text)
}

const notCounted = "its documents cannot be counted: it is closed, or red"

// covered says what has every document of an index, or why nothing has.
func (r *retiring) covered(ctx context.Context, name string, state index.State, came index.Receipts) (by, why string, err error) {
	kept, there := r.last.Indices[name]
	switch {
	case state.Documents == 0:
		return "nothing: it is empty", "", nil
	case there && kept.Created.Equal(state.Created) && kept.Documents >= state.Documents:
		return r.last.Name, "", nil
	case r.last.Name == "":
		why = "there is no good snapshot"
	case !there:
		why = "it is not in the last good snapshot, " + r.last.Name
	default:
		why = fmt.Sprintf("the last good snapshot, %s, has %d of its %d documents for certain", r.last.Name, kept.Documents, state.Documents)
	}
	return r.inBackup(ctx, name, came, why)
}

// inBackup says whether the backup has what came, or why not, beside what is
// said of the snapshots.
func (s *Snapshotter) inBackup(ctx context.Context, name string, came index.Receipts, beside string) (by, why string, err error) {
	if s.Backup == nil {
		return "", beside, nil
	}
	if came.First.IsZero() {
		return "", beside + ", and none of its documents says when it was received", nil
	}
	end := came.Last
	if came.Indexed.After(end) {
		end = came.Indexed
	}
	what, err := s.Backup.Lacks(ctx, came.First.Add(-backup.ClockSkew), end.Add(backup.ClockSkew))
	if err != nil {
		return "", "", fmt.Errorf("ask whether the backup has %s: %w", name, err)
	}
	if what == "" {
		return "backup", "", nil
	}
	return "", beside + fmt.Sprintf(", and the backup may not have all from %s to %s: %s", came.First.Format(time.RFC3339), end.Format(time.RFC3339), what), nil
}

// BackupChains is the backup of the stream, as BackupCoverage. Each document of
// an index came into the stream after the first of them was received, and before
// the last was indexed.
type BackupChains struct {
	Stream    telemetry.StreamID
	Shards    stream.Lister
	Workflows BackupPositions
	Store     backup.Described // below backup.Prefix
	Ends      backup.Described // below backup.EndsPrefix
}

// BackupPositions says how far the backup is.
type BackupPositions interface {
	// Reached returns the checkpoint of a shard's backup; zero if it has none.
	Reached(ctx context.Context, stream telemetry.StreamID, shard string) (telemetry.Checkpoint, error)
}

// Lacks implements BackupCoverage.
func (b BackupChains) Lacks(ctx context.Context, from, to time.Time) (string, error) {
	listed, err := b.Shards.Shards(ctx)
	if err != nil {
		return "", fmt.Errorf("list the shards: %w", err)
	}
	positions := map[string]backup.Position{}
	for _, shard := range listed {
		at, err := b.Workflows.Reached(ctx, b.Stream, shard.ID)
		if err != nil {
			return "", fmt.Errorf("ask how far the backup of shard %s is: %w", shard.ID, err)
		}
		positions[shard.ID] = backup.Position{Checkpoint: at, Child: len(shard.Parents) > 0}
	}
	return backup.Lacks(ctx, b.Store, b.Ends, b.Stream.Name, b.Stream.Created, positions, from, to)
}

// retire deletes an index as it was judged. It is sealed before: what comes
// until it is gone waits, and makes it anew; what has come since it was judged
// keeps it.
func (r *retiring) retire(ctx context.Context, name string, state index.State, covered string) error {
	if !r.in.DryRun {
		unseal, err := r.Cluster.Seal(ctx, name)
		if err != nil {
			return err
		}
		deleted, err := r.retireSealed(ctx, name, state, covered)
		if !deleted {
			err = errors.Join(err, unseal(context.WithoutCancel(ctx)))
		}
		if err != nil || !deleted {
			return err
		}
	}
	r.result.Change(func(result *Retirement) {
		result.Deleted = result.name(result.Deleted, name)
		result.Documents += state.Documents
	})
	return nil
}

func (r *retiring) retireSealed(ctx context.Context, name string, state index.State, covered string) (deleted bool, err error) {
	if err := r.Cluster.Refresh(ctx, name); err != nil {
		return false, err
	}
	now, err := r.Cluster.Received(ctx, name, time.Time{})
	if err != nil {
		return false, err
	}
	if now.Documents > state.Documents {
		slog.Info("an index that was to be deleted has received documents meanwhile", "index", name, "documents", now.Documents)
		return false, nil // the next run judges it anew
	}
	err = snapshot.Retire(ctx, r.Bucket, snapshot.Retired{Index: name, At: time.Now().UTC(), Documents: state.Documents, Covered: covered})
	if err == nil {
		err = r.Cluster.DeleteIndex(ctx, name)
	}
	if err != nil {
		return false, err
	}
	indicesRetired.Inc()
	slog.Info("deleted an index that is past its retention", "index", name, "documents", state.Documents, "covered", covered)
	return true, nil
}
