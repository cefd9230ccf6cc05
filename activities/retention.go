package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/activity"

	"millrace/internal/backup"
	"millrace/internal/index"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

// RetentionCall says which indices are to go.
type RetentionCall struct {
	Repository string   `json:"repository"`
	Indices    []string `json:"indices"` // patterns
	// Days is how many days behind its date an index is kept, by type.
	Days   map[string]int `json:"days"`
	DryRun bool           `json:"dryRun,omitempty"`
}

// Retirement is what became of the indices that are past their retention.
type Retirement struct {
	Deleted   []string `json:"deleted,omitempty"`   // or would have been, in a dry run
	Documents int64    `json:"documents,omitempty"` // in those
	// Uncovered stay, since neither a good snapshot nor the backup has all of
	// their documents: a text for each says what was looked at.
	Uncovered []string `json:"uncovered,omitempty"`
	More      int      `json:"more,omitempty"` // that the lists do not name
}

// mostRetired bounds what a result names: an operator has given little, and
// the workflow's history has to hold it.
const mostRetired = 200

// EnforceRetention deletes the indices that are past their retention, each
// only when something else has its documents. What it deletes it writes down
// before, so that snapshots do not miss it. Undated indices stay.
func (s *Snapshotter) EnforceRetention(ctx context.Context, in RetentionCall) (Retirement, error) {
	defer keepAlive(ctx, func() any { return in.Repository })()
	var result Retirement
	if err := s.Cluster.Refresh(ctx, in.Indices...); err != nil {
		return result, err
	}
	states, err := s.Cluster.Indices(ctx, in.Indices...)
	if err != nil {
		return result, err
	}
	all, err := snapshot.Open(s.Bucket, in.Repository).List(ctx)
	if err != nil {
		return result, err
	}
	last, _ := snapshot.LastGood(all, time.Time{})
	uncovered := 0
	var failed []error
	for _, name := range index.Names(states) {
		if !past(name, in.Days, time.Now()) {
			continue
		}
		state := states[name]
		covered, why, err := s.covered(ctx, name, state, last)
		if err != nil && ctx.Err() == nil { // the others do not wait for it
			failed = append(failed, err)
			continue
		}
		if err != nil {
			return result, err
		}
		if covered == "" {
			uncovered++
			result.Uncovered = result.name(result.Uncovered, name+": "+why)
			continue
		}
		if !in.DryRun {
			if err := s.retire(ctx, name, state, covered); err != nil {
				return result, err
			}
		}
		result.Deleted = result.name(result.Deleted, name)
		result.Documents += max(state.Documents, 0)
		activity.RecordHeartbeat(ctx, name)
	}
	indicesUncovered.Set(float64(uncovered))
	return result, errors.Join(failed...)
}

func (r *Retirement) name(list []string, text string) []string {
	if len(list) >= mostRetired {
		r.More++
		return list
	}
	return append(list, text)
}

// past reports whether an index is past its retention. Its last document may
// be of the end of its day.
func past(name string, days map[string]int, now time.Time) bool {
	parts, ours := telemetry.ParseIndex(name)
	keep, set := days[parts.Type]
	return ours && set && parts.Period == telemetry.Daily && now.After(parts.Begin.AddDate(0, 0, 1+keep))
}

// covered says what has every document of an index, or why nothing has.
func (s *Snapshotter) covered(ctx context.Context, name string, state index.State, last snapshot.Record) (by, why string, err error) {
	kept, there := last.Indices[name]
	switch {
	case state.Documents < 0:
		return "", "its documents cannot be counted: it is closed, or red", nil
	case state.Documents == 0:
		return "nothing: it is empty", "", nil
	case there && kept.Created.Equal(state.Created) && kept.Documents >= state.Documents:
		return last.Name, "", nil
	case last.Name == "":
		why = "there is no good snapshot"
	case !there:
		why = "it is not in the last good snapshot, " + last.Name
	default:
		why = fmt.Sprintf("the last good snapshot, %s, has %d of its %d documents for certain", last.Name, kept.Documents, state.Documents)
	}
	if s.Backup == nil {
		return "", why, nil
	}
	first, end, err := s.Cluster.Received(ctx, name)
	if err != nil {
		return "", "", err
	}
	if first.IsZero() {
		return "", why + ", and none of its documents says when it was received", nil
	}
	what, err := s.Backup.Lacks(ctx, first.Add(-clockSkew), end.Add(clockSkew))
	if err != nil {
		return "", "", fmt.Errorf("ask whether the backup has %s: %w", name, err)
	}
	if what == "" {
		return "backup", "", nil
	}
	return "", why + fmt.Sprintf(", and the backup may not have all from %s to %s: %s", first.Format(time.RFC3339), end.Format(time.RFC3339), what), nil
}

// BackupChains is the backup of the stream, as BackupCoverage. Each document of
// an index came into the stream after the first of them was received, and before
// the last was indexed.
type BackupChains struct {
	Stream    StreamID
	Shards    ShardLister
	Workflows BackupPositions
	Store     backup.Described // below backup.Prefix
	Ends      backup.Described // below backup.EndsPrefix
}

// BackupPositions says how far the backup is.
type BackupPositions interface {
	// Reached returns the checkpoint of a shard's backup; zero if it has none.
	Reached(ctx context.Context, stream StreamID, shard string) (telemetry.Checkpoint, error)
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

// retire deletes an index.
func (s *Snapshotter) retire(ctx context.Context, name string, state index.State, covered string) error {
	err := snapshot.Retire(ctx, s.Bucket, snapshot.Retired{Index: name, At: time.Now().UTC(), Documents: state.Documents, Covered: covered})
	if err != nil {
		return err
	}
	if err := s.Cluster.DeleteIndex(ctx, name); err != nil {
		return err
	}
	indicesRetired.Inc()
	slog.Info("deleted an index that is past its retention", "index", name, "documents", state.Documents, "covered", covered)
	return nil
}
