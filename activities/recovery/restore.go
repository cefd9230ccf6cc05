package recovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/activity"

	"millrace/internal/backoff"
	"millrace/internal/index"
	"millrace/internal/longcall"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

// RestoreInput says whose plan to follow.
type RestoreInput struct {
	Papers string `json:"papers"`
}

// RestoreProgress is how far a restore is: its heartbeat, and its result.
type RestoreProgress struct {
	index.Progress
	// Restored are the first of the indices; Indices is how many there are, and
	// Documents how many these have.
	Restored  []Restored `json:"restored,omitempty"`
	Indices   int        `json:"indices,omitempty"`
	Documents int64      `json:"documents,omitempty"`
	LastError string     `json:"lastError,omitempty"`
}

const (
	// followEvery is how often the restore is looked at.
	followEvery = time.Second
	// stuckAfter is how long nothing may move in a restore until red indices are
	// restored anew: a cluster forgets a restore when all its nodes restart.
	stuckAfter = 30 * time.Second
)

// restoring is what operators read when the restore does not get on.
const restoring = "restore"

// RestoreIndices restores the indices of a plan and waits until they are in
// service. It can be repeated at any point: what it has begun it finds again.
func (r *Recoverer) RestoreIndices(ctx context.Context, in RestoreInput) (RestoreProgress, error) {
	plan, err := readPlan(ctx, r.Bucket, in.Papers)
	if err != nil {
		return RestoreProgress{}, err
	}
	f := &following{Recoverer: r, plan: plan, moved: time.Now()}
	defer underWay.begin(restoring, &f.problem)()
	defer longcall.Heartbeat(ctx, func() any { return f.state() })()
	for len(plan.Restore) > 0 {
		done := false
		var failed error
		step := func() (err error) {
			done, err = f.step(ctx)
			if failed = f.givesUp(err); failed != nil {
				return nil
			}
			return err
		}
		if !longcall.Retry(ctx, &f.problem, restoring, step) {
			return f.state(), ctx.Err()
		}
		if failed != nil {
			return f.state(), failed
		}
		if done {
			break
		}
		if !backoff.Wait(ctx, followEvery) {
			return f.state(), ctx.Err()
		}
	}
	count := func() error { return f.count(ctx) }
	if !longcall.Retry(ctx, &f.problem, "count documents", count) {
		return f.state(), ctx.Err()
	}
	result := f.state()
	result.LastError = ""
	return result, nil
}

// following follows one restore.
type following struct {
	*Recoverer
	plan     Plan
	problem  longcall.Stall
	progress longcall.Guarded[RestoreProgress]
	moved    time.Time // when something was copied last
	refused  time.Time // since when the cluster cannot read the snapshot
}

func (f *following) state() RestoreProgress {
	p := f.progress.Get()
	_, p.LastError = f.problem.State()
	return p
}

// step begins what has not begun, and reports whether all is in service.
func (f *following) step(ctx context.Context) (done bool, err error) {
	states, err := f.Cluster.Indices(ctx, telemetry.IndexPrefix+"*")
	if err != nil {
		return false, err
	}
	stuck := time.Since(f.moved) > stuckAfter
	var begin, replace, targets []string
	for _, one := range f.plan.Restore {
		target := one.Name + f.plan.Suffix
		targets = append(targets, target)
		state, there := states[target]
		switch {
		case !there:
			begin = append(begin, one.Name)
		case state.UUID == one.UUID, state.Created.After(one.Created), stuck && state.Red():
			// What is to be replaced; or a document that came meanwhile has made it
			// anew; or the cluster has forgotten that it restores it.
			slog.Info("deleting an index that is to be restored", "index", target, "why", one.Why)
			begin, replace = append(begin, one.Name), append(replace, target)
		}
	}
	if len(begin) > 0 {
		f.moved = time.Now()
		if err := f.remove(ctx, replace); err != nil {
			return false, err
		}
		err := f.Cluster.StartRestore(ctx, f.plan.Repository, f.plan.Snapshot, index.Restore{Indices: begin, Suffix: f.plan.Suffix})
		if err != nil {
			return false, err
		}
	}
	progress, err := f.Cluster.Recovery(ctx, telemetry.IndexPrefix+"*", targets)
	if err != nil {
		return false, err
	}
	before := f.progress.Get().Progress
	if before.Copied != progress.Copied || before.Done != progress.Done {
		f.moved = time.Now()
	}
	f.progress.Set(RestoreProgress{Progress: progress})
	return progress.Ready, nil
}

// remove deletes what is to be replaced, if there is what is to replace it.
func (f *following) remove(ctx context.Context, indices []string) error {
	if len(indices) == 0 {
		return nil
	}
	if _, err := f.Cluster.GetSnapshot(ctx, f.plan.Repository, f.plan.Snapshot); err != nil {
		return err
	}
	for _, name := range indices {
		if err := f.Cluster.DeleteIndex(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// count holds the restored documents against what the snapshot has.
func (f *following) count(ctx context.Context) error {
	if err := f.Cluster.Refresh(ctx, telemetry.IndexPrefix+"*"); err != nil {
		return err
	}
	states, err := f.Cluster.Indices(ctx, telemetry.IndexPrefix+"*")
	if err != nil {
		return err
	}
	p := f.progress.Get()
	var all []Restored
	for _, one := range f.plan.Restore {
		state, there := states[one.Name+f.plan.Suffix]
		if !there || state.Documents < 0 {
			return fmt.Errorf("count the documents of %s: %w", one.Name+f.plan.Suffix, errNotCounted)
		}
		wanted, err := f.wanted(ctx, one, state.Documents)
		if err != nil {
			return err
		}
		all = append(all, Restored{Index: one.Name + f.plan.Suffix, Documents: state.Documents, Wanted: wanted})
	}
	p.restored(all)
	f.progress.Set(p)
	if activity.IsActivity(ctx) {
		activity.RecordHeartbeat(ctx, p)
	}
	return nil
}

// wanted is how many documents an index must have: those of the snapshot, but
// for what retention has deleted since it was planned.
func (f *following) wanted(ctx context.Context, one IndexPlan, there int64) (int64, error) {
	if there >= one.Documents || f.plan.Suffix != "" {
		return one.Documents, nil
	}
	trimmed, err := snapshot.TrimmedIndex(ctx, f.Bucket, one.Name)
	return one.Documents - max(0, trimmed.Documents-one.Trimmed), err
}

var errNotCounted = errors.New("it is not in service")
