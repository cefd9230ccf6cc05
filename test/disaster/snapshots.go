package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"millrace/activities/recovery"
	"millrace/deploy/local"
	"millrace/internal/telemetry"
	"millrace/test/kit/poll"
	"millrace/workflows"
)

// fromGood waits until the recovery has ended, which must have restored the good
// snapshot.
func (r *rehearsal) fromGood(ctx context.Context) (recovery.RecoverResult, error) {
	result, err := r.complete(ctx)
	if err == nil && (result.Plan.Snapshot != r.good || len(result.Restored) == 0 || result.Backfill.Indexed == 0) {
		err = fmt.Errorf("it is not snapshot %s and the backup that it all came from: %+v", r.good, result)
	}
	return result, err
}

// partialSnapshot: the last snapshot before the disaster lacks an index that
// was red. It is no success, and the one before it is restored.
func partialSnapshot(ctx context.Context, r *rehearsal) error {
	if err := r.prepare()(ctx); err != nil {
		return err
	}
	red := telemetry.IndexPrefix + "event-2020.01.02"
	nowhere := map[string]any{"settings": map[string]string{"index.routing.allocation.require._name": "no-node"}}
	if err := r.stores.Ask(ctx, http.MethodPut, "/"+red+"?wait_for_active_shards=0", nowhere, nil); err != nil {
		return err
	}
	if err := do(ctx, r.badSnapshot(workflows.SnapshotFailed, "PARTIAL"), r.strike(""), r.recover()); err != nil {
		return err
	}
	_, err := r.fromGood(ctx)
	return err
}

// suspectSnapshot: the schedule goes on, and takes a snapshot of what little is
// there between the disaster and the recovery.
func suspectSnapshot(ctx context.Context, r *rehearsal) error {
	if err := do(ctx, r.prepare(), r.strike("")); err != nil {
		return err
	}
	if err := r.until(ctx, "the live load to make indices", func() (bool, error) {
		there, err := r.indices(ctx, all)
		return len(there) > 0, err
	}); err != nil {
		return err
	}
	if err := do(ctx, r.badSnapshot(workflows.SnapshotSuspect, "since snapshot "+r.good), r.recover()); err != nil {
		return err
	}
	_, err := r.fromGood(ctx)
	return err
}

// noSnapshot: all there is, is the backup.
func noSnapshot(ctx context.Context, r *rehearsal) error {
	if err := do(ctx, r.load(max(leastRecords, r.options.Records/10)), r.strike(""), r.recover()); err != nil {
		return err
	}
	result, err := r.complete(ctx)
	if err == nil && (result.Plan.Snapshot != "" || len(result.Restored) > 0 || result.Backfill.Indexed+result.Verify.Indexed < int64(r.taken)*9/10) {
		err = fmt.Errorf("it is not the backup that it all came from: %+v", result)
	}
	return err
}

// repositoryUnreachable: the repository cannot be read when the recovery
// begins. It says so, and fails before anything is touched; once the repository
// is mended, another one brings all back.
func repositoryUnreachable(ctx context.Context, r *rehearsal) (err error) {
	if err := do(ctx, r.prepare(), r.strike("")); err != nil {
		return err
	}
	folder := filepath.Join(r.stack.Service(local.Elasticsearch).SnapshotDir(), r.stores.Tenant)
	info, err := os.Stat(folder)
	if err != nil {
		return fmt.Errorf("look at the repository: %w", err)
	}
	if err := os.Chmod(folder, 0); err != nil {
		return fmt.Errorf("close the repository: %w", err)
	}
	reopen := func() error {
		if err := os.Chmod(folder, info.Mode().Perm()); err != nil {
			return fmt.Errorf("open the repository: %w", err)
		}
		return nil
	}
	if err := r.recover()(ctx); err != nil {
		return errors.Join(err, reopen())
	}
	result, failed := r.conclude(ctx)
	if err := reopen(); err != nil {
		return err
	}
	if failed == nil || !strings.Contains(failed.Error(), recovery.RepositoryUnreachable) || r.last.Stage != workflows.StageSetup || r.last.Held {
		return fmt.Errorf("without its repository the recovery came to %+v, with %+v: %w", r.last, result, failed)
	}
	r.say("it fails: %.300s", failed)
	if err := r.recover()(ctx); err != nil {
		return err
	}
	_, err = r.fromGood(ctx)
	return err
}

// slowRestore makes a restore take some ten seconds: something is to happen in it.
const slowRestore = "--repository-setting=max_restore_bytes_per_sec=30kb"

// elasticsearchRestarted: all of the cluster is killed while it restores, and
// comes back without knowing that it did.
func elasticsearchRestarted(ctx context.Context, r *rehearsal) error {
	if err := do(ctx, r.prepare(slowRestore), r.strike(""), r.recover()); err != nil {
		return err
	}
	restoring := func(p workflows.RecoverProgress) bool {
		return p.Stage == workflows.StageRestore && p.Restore.Bytes > 0 && p.Restore.Done < p.Restore.Shards
	}
	p, err := r.await(ctx, "the restore to be under way", func(p workflows.RecoverProgress) bool {
		return restoring(p) || p.Stage == workflows.StageBackfill
	})
	if err != nil {
		return err
	}
	if !restoring(p) {
		return fmt.Errorf("the restore was over before something could happen in it: %+v", p.Restore)
	}
	server := r.stack.Service(local.Elasticsearch)
	if err := server.Kill(); err != nil {
		return err
	}
	r.say("killed Elasticsearch after %d of %d bytes were restored", p.Restore.Copied, p.Restore.Bytes)
	if err := poll.For(ctx, stillFor); err != nil {
		return err
	}
	if err := server.Restart(ctx); err != nil {
		return err
	}
	if p, known, err := r.look(ctx); err != nil || known && p.Stage != workflows.StageRestore {
		return errors.Join(err, fmt.Errorf("the restore has ended without Elasticsearch: %+v", p))
	}
	_, err = r.fromGood(ctx)
	return err
}
