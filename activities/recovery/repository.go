package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"go.temporal.io/sdk/temporal"

	"millrace/internal/backoff"
	"millrace/internal/index"
	"millrace/internal/snapshot"
)

// RepositoryUnreachable is the type of the error of a recovery whose snapshot
// the cluster cannot read.
const RepositoryUnreachable = "RepositoryUnreachable"

const (
	// readAttempts is how often it is tried to read a snapshot, before anything
	// is touched.
	readAttempts = 3
	// DefaultPatience is for how long the repository may be away during the
	// restore, while shards are paused for it.
	DefaultPatience = 2 * time.Minute
)

// ensureRepository makes the repository of a plan known to a cluster that is
// new, by what SnapshotIndex has written down of it. A dry run only says so.
func (r *Recoverer) ensureRepository(ctx context.Context, dryRun bool, plan *Plan) (known bool, err error) {
	if _, err := r.Cluster.GetRepository(ctx, plan.Repository); !errors.Is(err, index.ErrMissing) {
		return true, nil // or it cannot be asked now: reading the snapshot tells
	}
	var repository index.Repository
	body, err := r.Bucket.Get(ctx, snapshot.RepositoryKey(plan.Repository))
	if errors.Is(err, fs.ErrNotExist) {
		return false, invalid("the cluster has no repository %s, and no snapshot has written down what it is: make it known to the cluster, "+
			"or recover from the backup alone with noSnapshot", plan.Repository)
	}
	if err == nil {
		err = json.Unmarshal(body, &repository)
	}
	if err != nil {
		return false, fmt.Errorf("read what repository %s is: %w", plan.Repository, err)
	}
	if dryRun {
		plan.Warnings = append(plan.Warnings, "the cluster has no repository "+plan.Repository+
			" yet: the recovery makes it known to it, and sees then whether the snapshot can be read")
		return false, nil
	}
	_, err = r.Cluster.EnsureRepository(ctx, repository)
	if refused(err) {
		return false, unreachable(*plan, "nothing was changed", err)
	}
	if err == nil {
		slog.InfoContext(ctx, "made the repository of snapshots known to the cluster", "repository", repository.Name, "type", repository.Type)
	}
	return err == nil, err
}

// readSnapshot ensures that the cluster can read the snapshot of a plan.
func (r *Recoverer) readSnapshot(ctx context.Context, plan Plan) error {
	for attempt := 1; ; attempt++ {
		_, err := r.Cluster.GetSnapshot(ctx, plan.Repository, plan.Snapshot)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, index.ErrMissing):
			return invalid("%v: choose another one with `starter snapshot list`, or recover from the backup alone with noSnapshot", err)
		case !refused(err): // Elasticsearch itself is away
			return err
		case attempt == readAttempts:
			return unreachable(plan, "nothing was changed", err)
		}
		if !backoff.Wait(ctx, time.Second) {
			return ctx.Err()
		}
	}
}

// refused reports whether the cluster is there, and cannot do what it was asked.
func refused(err error) bool {
	var status *index.StatusError
	return errors.As(err, &status) && status.Status != http.StatusTooManyRequests && status.Status != http.StatusServiceUnavailable
}

func unreachable(plan Plan, done string, err error) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(
		"snapshot %s in repository %s cannot be read, %s: %s. Mend the repository, or recover from the backup alone with noSnapshot",
		plan.Snapshot, plan.Repository, done, failureText(err)), RepositoryUnreachable, nil)
}

// failureText is what an operator needs of an error of the cluster.
func failureText(err error) string {
	var status *index.StatusError
	if errors.As(err, &status) {
		return status.Error()
	}
	return err.Error()
}

// givesUp says whether a restore is to end, because for too long the cluster
// could not read the snapshot.
func (f *following) givesUp(err error) error {
	if err == nil || !refused(err) {
		f.refused = time.Time{}
		return nil
	}
	if f.refused.IsZero() {
		f.refused = time.Now()
	}
	patience := f.Patience
	if patience == 0 {
		patience = DefaultPatience
	}
	if time.Since(f.refused) < patience {
		return nil
	}
	return unreachable(f.plan, "the restore was given up", err)
}
