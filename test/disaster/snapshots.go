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
func (d *drilling) fromGood(ctx context.Context) (recovery.RecoverResult, error) {
	result, err := d.complete(ctx)
	if err == nil && (result.Plan.Snapshot != d.good || len(result.Restored) == 0 || result.Backfill.Indexed == 0) {
		err = fmt.Errorf("it is not snapshot %s and the backup that it all came from: %+v", d.good, result)
	}
	return result, err
}

// partialSnapshot: the last snapshot before the disaster lacks an index that
// was red. It is no success, and the one before it is restored.
func partialSnapshot(ctx context.Context, d *drilling) error {
	if err := d.prepare()(ctx); err != nil {
		return err
	}
	red := telemetry.IndexPrefix + "event-2020.01.02"
	nowhere := map[string]any{"settings": map[string]string{"index.routing.allocation.require._name": "nobody"}}
	if err := d.stores.Ask(ctx, http.MethodPut, "/"+red+"?wait_for_active_shards=0", nowhere, nil); err != nil {
		return err
	}
	if err := do(ctx, d.badSnapshot(workflows.SnapshotFailed, "PARTIAL"), d.strike(""), d.recover()); err != nil {
		return err
	}
	_, err := d.fromGood(ctx)
	return err
}

// suspectSnapshot: the schedule goes on, and takes a snapshot of what little is
// there between the disaster and the recovery.
func suspectSnapshot(ctx context.Context, d *drilling) error {
	if err := do(ctx, d.prepare(), d.strike("")); err != nil {
		return err
	}
	if err := d.until(ctx, "the live load to make indices", func() (bool, error) {
		there, err := d.indices(ctx, all)
		return len(there) > 0, err
	}); err != nil {
		return err
	}
	if err := do(ctx, d.badSnapshot(workflows.SnapshotSuspect, "since snapshot "+d.good), d.recover()); err != nil {
		return err
	}
	_, err := d.fromGood(ctx)
	return err
}

// noSnapshot: all there is, is the backup.
func noSnapshot(ctx context.Context, d *drilling) error {
	if err := do(ctx, d.load(max(leastRecords, d.options.Records/10)), d.strike(""), d.recover()); err != nil {
		return err
	}
	result, err := d.complete(ctx)
	if err == nil && (result.Plan.Snapshot != "" || len(result.Restored) > 0 || result.Backfill.Indexed+result.Verify.Indexed < int64(d.taken)*9/10) {
		err = fmt.Errorf("it is not the backup that it all came from: %+v", result)
	}
	return err
}

// repositoryUnreachable: the repository cannot be read when the recovery
// begins. It says so, and fails before anything is touched; once the repository
// is mended, another one brings all back.
func repositoryUnreachable(ctx context.Context, d *drilling) (err error) {
	if err := do(ctx, d.prepare(), d.strike("")); err != nil {
		return err
	}
	folder := filepath.Join(d.stack.Service(local.Elasticsearch).SnapshotDir(), d.stores.Tenant)
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
	if err := d.recover()(ctx); err != nil {
		return errors.Join(err, reopen())
	}
	result, failed := d.conclude(ctx)
	if err := reopen(); err != nil {
		return err
	}
	if failed == nil || !strings.Contains(failed.Error(), recovery.RepositoryUnreachable) || d.last.Stage != workflows.StageSetup || d.last.Held {
		return fmt.Errorf("without its repository the recovery came to %+v, with %+v: %w", d.last, result, failed)
	}
	d.say("it fails: %.300s", failed)
	if err := d.recover()(ctx); err != nil {
		return err
	}
	_, err = d.fromGood(ctx)
	return err
}

// slowRestore makes a restore take some ten seconds: something is to happen in it.
const slowRestore = "--repository-setting=max_restore_bytes_per_sec=30kb"

// elasticsearchRestarted: all of the cluster is killed while it restores, and
// comes back without knowing that it did.
func elasticsearchRestarted(ctx context.Context, d *drilling) error {
	if err := do(ctx, d.prepare(slowRestore), d.strike(""), d.recover()); err != nil {
		return err
	}
	restoring := func(p workflows.RecoverProgress) bool {
		return p.Stage == workflows.StageRestore && p.Restore.Bytes > 0 && p.Restore.Done < p.Restore.Shards
	}
	p, err := d.await(ctx, "the restore to be under way", func(p workflows.RecoverProgress) bool {
		return restoring(p) || p.Stage == workflows.StageBackfill
	})
	if err != nil {
		return err
	}
	if !restoring(p) {
		return fmt.Errorf("the restore was over before something could happen in it: %+v", p.Restore)
	}
	server := d.stack.Service(local.Elasticsearch)
	if err := server.Kill(); err != nil {
		return err
	}
	d.say("killed Elasticsearch after %d of %d bytes were restored", p.Restore.Copied, p.Restore.Bytes)
	if err := poll.For(ctx, stillFor); err != nil {
		return err
	}
	if err := server.Restart(ctx); err != nil {
		return err
	}
	if p, known, err := d.look(ctx); err != nil || known && p.Stage != workflows.StageRestore {
		return errors.Join(err, fmt.Errorf("the restore has ended without Elasticsearch: %+v", p))
	}
	_, err = d.fromGood(ctx)
	return err
}
