package snapshots

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"

	"millrace/internal/index"
	"millrace/internal/longcall"
	"millrace/internal/snapshot"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Snapshotter is what the activities of SnapshotIndex and EnforceRetention
// need. Each of them is short: what takes long goes on in the cluster.
type Snapshotter struct {
	Stream    telemetry.StreamID
	Shards    stream.Lister
	Workflows ShardPositions
	Cluster   *index.Client
	Bucket    snapshot.Store
	Backup    BackupCoverage // nil: there is none
}

// BackupCoverage says what the backup has. See BackupChains.
type BackupCoverage interface {
	// Lacks says what of all that arrived in the stream between two times is not
	// certain to be in it; nothing, if all of it is.
	Lacks(ctx context.Context, from, to time.Time) (what string, err error)
}

// ShardPositions says how far the stream is processed.
type ShardPositions interface {
	// Checkpoint returns where a shard is at this moment: zero if it was never
	// begun.
	Checkpoint(ctx context.Context, stream telemetry.StreamID, shard string) (telemetry.Checkpoint, error)
	// OpenBatches returns the ranges of the ProcessBatch workflows that were open at
	// a time, of streams of that name, as far as is known.
	OpenBatches(ctx context.Context, stream telemetry.StreamID, at time.Time) ([]telemetry.Range, error)
}

// SnapshotCall says which snapshot an activity is about.
type SnapshotCall struct {
	Repository index.Repository `json:"repository"`
	Name       string           `json:"name"`
	Indices    []string         `json:"indices"` // patterns
}

// SnapshotPlan is what a run of SnapshotIndex finds.
type SnapshotPlan struct {
	// Name is of the snapshot to follow: another one than was asked for, where
	// that is going on already because the run that began it was ended.
	Name  string `json:"name"`
	State string `json:"state"`
	// LastGood is when the last good snapshot was begun, and where there never
	// was one, when the first was tried.
	LastGood time.Time `json:"lastGood"`
}

// checkpointsAtOnce bounds the queries to ProcessShard workflows.
const checkpointsAtOnce = 16

// PlanSnapshot makes the repository if it is missing, brings to an end what
// earlier runs have left behind, and writes down where every shard is. What is
// open comes later, see BeginSnapshot.
func (s *Snapshotter) PlanSnapshot(ctx context.Context, in SnapshotCall) (SnapshotPlan, error) {
	defer longcall.Heartbeat(ctx, func() any { return in.Name })()
	plan := SnapshotPlan{Name: in.Name, State: snapshot.Planned, LastGood: time.Now().UTC()}
	catalog := snapshot.Open(s.Bucket, in.Repository.Name)
	all, err := catalog.List(ctx)
	if err != nil {
		return plan, err
	}
	if len(all) > 0 {
		plan.LastGood = all[len(all)-1].Started
	}
	if last, found := snapshot.LastGood(all, time.Time{}); found {
		plan.LastGood = last.Started
	}
	if err := s.lookAgainAtLast(ctx, catalog, all); err != nil {
		return plan, err
	}
	lastSuccess.WithLabelValues(in.Repository.Name).Set(float64(plan.LastGood.Unix()))
	created, err := s.Cluster.EnsureRepository(ctx, in.Repository)
	if err != nil {
		return plan, err
	}
	if created {
		slog.Info("created a repository of snapshots", "repository", in.Repository.Name, "type", in.Repository.Type)
	}
	if err := s.keepRepository(ctx, in.Repository.Name); err != nil {
		return plan, err
	}
	for _, left := range all {
		if left.Final() || left.Name == in.Name {
			continue
		}
		state, err := s.concludeEarlier(ctx, catalog, left)
		if err != nil {
			return plan, err
		}
		if state == snapshot.InProgress {
			plan.Name, plan.State = left.Name, state
		}
	}
	if plan.State == snapshot.InProgress {
		return plan, nil
	}
	record, err := catalog.Get(ctx, in.Name)
	if err == nil && record.State != snapshot.Planned { // a retry, behind time
		plan.State = record.State
		return plan, nil
	}
	if err != nil && !errors.Is(err, snapshot.ErrNone) {
		return plan, err
	}
	record = snapshot.Record{Name: in.Name, Repository: in.Repository.Name, Started: time.Now().UTC(), State: snapshot.Planned}
	if record.Shards, err = s.positions(ctx); err != nil {
		return plan, err
	}
	return plan, catalog.Put(ctx, record)
}

// leftAfter is how old a plan without an owner is.
const leftAfter = 15 * time.Minute

// concludeEarlier brings the record of a snapshot up to date whose run has not done so,
// and returns its state.
func (s *Snapshotter) concludeEarlier(ctx context.Context, catalog *snapshot.Catalog, r snapshot.Record) (string, error) {
	if r.State == snapshot.Planned {
		if time.Since(r.Started) < leftAfter {
			return r.State, nil
		}
		r.State, r.Reason, r.Ended = snapshot.Failed, "its run ended before it was begun", time.Now().UTC()
		return r.State, catalog.Put(ctx, r)
	}
	done, err := s.conclude(ctx, catalog, &r)
	if err != nil || !done {
		return snapshot.InProgress, err
	}
	slog.Warn("an earlier run had not seen the end of its snapshot", "snapshot", r.Name, "state", r.State)
	return r.State, nil
}

// positions returns where all shards are.
func (s *Snapshotter) positions(ctx context.Context) ([]snapshot.Shard, error) {
	listed, err := s.Shards.Shards(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the shards: %w", err)
	}
	shards := make([]snapshot.Shard, len(listed))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(checkpointsAtOnce)
	for i, shard := range listed {
		group.Go(func() error {
			checkpoint, err := s.Workflows.Checkpoint(asking, s.Stream, shard.ID)
			if err != nil {
				return fmt.Errorf("ask for the checkpoint of shard %s: %w", shard.ID, err)
			}
			shards[i] = snapshot.Shard{
				Stream: s.Stream.Name, StreamARN: s.Stream.ARN, Created: s.Stream.Created, Shard: shard.ID, Checkpoint: checkpoint,
			}
			return nil
		})
	}
	return shards, group.Wait()
}

// SnapshotBegun is what a snapshot will have.
type SnapshotBegun struct {
	Indices   int    `json:"indices"`
	Documents int64  `json:"documents"`
	Open      int    `json:"open"` // ranges
	Suspect   string `json:"suspect,omitempty"`
}

// BeginSnapshot writes down which ranges are open, and which indices there are
// with how many documents, and only then begins the snapshot. A retry takes
// what an earlier attempt has written: the snapshot may be older than the
// retry.
func (s *Snapshotter) BeginSnapshot(ctx context.Context, in SnapshotCall) (SnapshotBegun, error) {
	defer longcall.Heartbeat(ctx, func() any { return in.Name })()
	catalog := snapshot.Open(s.Bucket, in.Repository.Name)
	record, err := catalog.Get(ctx, in.Name)
	if err != nil {
		return SnapshotBegun{}, err
	}
	if record.State == snapshot.Planned {
		if record.Open, err = s.Workflows.OpenBatches(ctx, s.Stream, time.Now()); err != nil {
			return SnapshotBegun{}, err
		}
		if err := s.survey(ctx, catalog, in.Indices, &record); err != nil {
			return SnapshotBegun{}, err
		}
		record.Started, record.State = time.Now().UTC(), snapshot.InProgress
		if err := catalog.Put(ctx, record); err != nil {
			return SnapshotBegun{}, err
		}
	}
	err = s.Cluster.StartSnapshot(ctx, in.Repository.Name, in.Name, index.Names(record.Indices), map[string]string{
		"taken_by": "millrace", "record": catalog.Key(in.Name), // 1 KB at the most: the rest is there
	})
	if err != nil {
		return SnapshotBegun{}, err
	}
	return SnapshotBegun{
		Indices: len(record.Indices), Documents: record.Documents(), Open: len(record.Open), Suspect: record.Suspect,
	}, nil
}

// survey counts the telemetry indices, and judges whether something is
// missing. Copies that were restored under a suffix are no telemetry: they
// come and go.
func (s *Snapshotter) survey(ctx context.Context, catalog *snapshot.Catalog, patterns []string, record *snapshot.Record) error {
	trimmed, err := snapshot.ListTrimmed(ctx, s.Bucket) // before they are counted: what is deleted meanwhile is not in it
	if err != nil {
		return err
	}
	if err := s.Cluster.Refresh(ctx, patterns...); err != nil { // then there are more than are counted
		slog.Warn("could not refresh the indices before a snapshot", "snapshot", record.Name, "error", err)
	}
	states, err := s.Cluster.Indices(ctx, patterns...)
	if err != nil {
		return err
	}
	last, err := catalog.LastGood(ctx, time.Time{})
	if err != nil && !errors.Is(err, snapshot.ErrNone) {
		return err
	}
	recovered, err := snapshot.ReadBasis(ctx, s.Bucket)
	if err != nil {
		return err
	}
	recovered.Rebase(last)
	record.Indices = map[string]snapshot.Index{}
	for name, state := range states {
		if _, ours := telemetry.ParseIndex(name); !ours {
			continue
		}
		counted := snapshot.Index{Documents: max(state.Documents, 0), Created: state.Created, Trimmed: trimmed[name]}
		if before := last.Indices[name]; state.Closed && before.Created.Equal(state.Created) {
			counted = before // it cannot be counted, nor has it changed
			counted.Still = nil
		}
		record.Indices[name] = counted
	}
	if err := countSettled(ctx, s.Cluster, last, record); err != nil {
		return err
	}
	return s.judge(ctx, last, record)
}

// judge says whether a snapshot is suspect.
func (s *Snapshotter) judge(ctx context.Context, last snapshot.Record, record *snapshot.Record) error {
	notes, err := snapshot.ListNoted(ctx, s.Bucket)
	if err != nil {
		return err
	}
	gone := map[string]snapshot.Gone{}
	for _, name := range snapshot.Missing(last, record.Indices, notes) {
		if gone[name], err = snapshot.GoneOf(ctx, s.Bucket, name); err != nil {
			return err
		}
		activity.RecordHeartbeat(ctx, name)
	}
	record.Suspect = snapshot.Judge(last, record.Indices, notes, gone)
	old := slices.DeleteFunc(notes, func(n snapshot.Noted) bool { return !n.Created.Before(last.Started.Add(-forgetBehind)) })
	return snapshot.Forget(ctx, s.Bucket, old)
}

// forgetBehind is how long before the last good snapshot an index that was noted
// is no longer of interest: that one has it, or it was missed then.
const forgetBehind = 24 * time.Hour

// SnapshotLook is what became of a snapshot.
type SnapshotLook struct {
	State    string         `json:"state"`
	Reason   string         `json:"reason,omitempty"`
	Suspect  string         `json:"suspect,omitempty"`
	Progress index.Progress `json:"progress"`
}

// FollowSnapshot says how far a snapshot is, and once it has ended, writes down
// how.
func (s *Snapshotter) FollowSnapshot(ctx context.Context, in SnapshotCall) (SnapshotLook, error) {
	defer longcall.Heartbeat(ctx, func() any { return in.Name })()
	catalog := snapshot.Open(s.Bucket, in.Repository.Name)
	record, err := catalog.Get(ctx, in.Name)
	if err != nil {
		return SnapshotLook{}, err
	}
	done := record.Final()
	if !done {
		if done, err = s.conclude(ctx, catalog, &record); err != nil {
			return SnapshotLook{}, err
		}
	}
	look := SnapshotLook{State: record.State, Reason: record.Reason, Suspect: record.Suspect}
	if !done {
		// It may end at this moment; its text then is only shown.
		look.Progress, err = s.Cluster.SnapshotProgress(ctx, in.Repository.Name, in.Name)
		if err != nil && !errors.Is(err, index.ErrMissing) {
			return look, err
		}
	}
	return look, nil
}

// conclude writes down how a snapshot ended, if it has.
func (s *Snapshotter) conclude(ctx context.Context, catalog *snapshot.Catalog, r *snapshot.Record) (done bool, err error) {
	found, err := s.Cluster.GetSnapshot(ctx, r.Repository, r.Name)
	switch {
	case errors.Is(err, index.ErrMissing):
		found = index.Snapshot{State: snapshot.Failed, Ended: time.Now().UTC()}
		r.Reason = "it is not in the repository: it was deleted, or never begun"
	case err != nil:
		return false, err
	case found.State == snapshot.InProgress:
		return false, nil
	default:
		r.Reason = reason(found)
	}
	r.State, r.Ended = found.State, found.Ended
	switch r.State {
	case snapshot.Success, snapshot.Partial, snapshot.Failed:
	default: // INCOMPATIBLE, …
		r.State = snapshot.Failed
	}
	if r.State == snapshot.Success {
		if err := s.whole(ctx, catalog, r, found.Indices); err != nil {
			return false, err
		}
		if _, err := s.lookAgain(ctx, r); err != nil {
			return false, err
		}
	}
	if err := catalog.Put(ctx, *r); err != nil {
		return false, err
	}
	countSnapshot(*r)
	return true, nil
}

// lookAgain adds to a record the ranges that were open when its snapshot was
// begun, and of which Temporal knew only later: it lists a workflow some time
// after it was started, under load more than any fixed wait.
func (s *Snapshotter) lookAgain(ctx context.Context, r *snapshot.Record) (more bool, err error) {
	open, err := s.Workflows.OpenBatches(ctx, s.Stream, r.Started)
	if err != nil {
		return false, err
	}
	return r.AddOpen(open), nil
}

// lookAgainAtLast does so once more with the last snapshot that can be restored.
func (s *Snapshotter) lookAgainAtLast(ctx context.Context, catalog *snapshot.Catalog, all []snapshot.Record) error {
	for _, r := range all {
		if r.State != snapshot.Success {
			continue
		}
		more, err := s.lookAgain(ctx, &r)
		if err == nil && more {
			err = catalog.Put(ctx, r)
		}
		return err
	}
	return nil
}

// whole takes from a record the indices that were deleted between the survey
// and the beginning of the snapshot.
func (s *Snapshotter) whole(ctx context.Context, catalog *snapshot.Catalog, r *snapshot.Record, has []string) error {
	gone := false
	for name := range r.Indices {
		if !slices.Contains(has, name) {
			delete(r.Indices, name)
			gone = true
		}
	}
	if !gone || r.Suspect != "" {
		return nil
	}
	last, err := catalog.LastGood(ctx, r.Started)
	if errors.Is(err, snapshot.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	recovered, err := snapshot.ReadBasis(ctx, s.Bucket)
	if err != nil {
		return err
	}
	recovered.Rebase(last)
	return s.judge(ctx, last, r)
}

// mostFailures bounds how many failed shards a reason names.
const mostFailures = 5

// reason says why a snapshot is not complete.
func reason(s index.Snapshot) string {
	if s.State == snapshot.Success {
		return ""
	}
	text := fmt.Sprintf("%d of %d shards are not in it", s.Failed, s.Shards)
	for n, failure := range s.Failures {
		if n == mostFailures {
			text += fmt.Sprintf("; and %d more", len(s.Failures)-n)
			break
		}
		text += fmt.Sprintf("; %s shard %d: %s", failure.Index, failure.Shard, failure.Reason)
	}
	return text
}

// AbandonSnapshot ends a snapshot whose run was canceled.
func (s *Snapshotter) AbandonSnapshot(ctx context.Context, in SnapshotCall) error {
	catalog := snapshot.Open(s.Bucket, in.Repository.Name)
	record, err := catalog.Get(ctx, in.Name)
	if errors.Is(err, snapshot.ErrNone) || err == nil && record.Final() {
		return nil
	}
	if err != nil {
		return err
	}
	if record.State == snapshot.InProgress {
		if err := s.Cluster.DeleteSnapshot(ctx, in.Repository.Name, in.Name); err != nil {
			return err
		}
	}
	record.State, record.Reason, record.Ended = snapshot.Failed, "its run was canceled", time.Now().UTC()
	countSnapshot(record)
	return catalog.Put(ctx, record)
}

// ExpireCall says which snapshots are to be kept.
type ExpireCall struct {
	Repository string             `json:"repository"`
	Retention  snapshot.Retention `json:"retention"`
}

// Expired is what retention has deleted.
type Expired struct {
	Deleted int `json:"deleted"`
	Kept    int `json:"kept"`
}

// ExpireSnapshots deletes the snapshots that are past their retention, and
// then their records.
func (s *Snapshotter) ExpireSnapshots(ctx context.Context, in ExpireCall) (Expired, error) {
	defer longcall.Heartbeat(ctx, func() any { return in.Repository })()
	catalog := snapshot.Open(s.Bucket, in.Repository)
	all, err := catalog.List(ctx)
	if err != nil {
		return Expired{}, err
	}
	expired := in.Retention.Expired(all, time.Now())
	for _, old := range expired {
		if err := s.Cluster.DeleteSnapshot(ctx, in.Repository, old.Name); err != nil {
			return Expired{}, err
		}
		if err := catalog.Delete(ctx, old.Name); err != nil {
			return Expired{}, err
		}
		slog.Info("deleted a snapshot that is past its retention", "snapshot", old.Name, "started", old.Started)
	}
	return Expired{Deleted: len(expired), Kept: len(all) - len(expired)}, nil
}
