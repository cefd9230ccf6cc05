package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"millrace/internal/control"
	"millrace/internal/telemetry"
	"millrace/test/kit/audit"
	"millrace/workflows"
)

// oneIndex: one index of many is gone. It comes back, and the others are left
// alone.
func oneIndex(ctx context.Context, r *rehearsal) error {
	if err := r.prepare()(ctx); err != nil {
		return err
	}
	before, err := r.indices(ctx, all)
	if err != nil {
		return err
	}
	if err := do(ctx, r.strike("log"), r.recover()); err != nil {
		return err
	}
	result, err := r.fromGood(ctx)
	if err != nil {
		return err
	}
	after, err := r.indices(ctx, all)
	if err != nil {
		return err
	}
	for name, uuid := range before {
		if log := strings.HasPrefix(name, telemetry.IndexPrefix+"log-"); log == (after[name] == uuid) || after[name] == "" {
			err = errors.Join(err, fmt.Errorf("%s: it was %s, and is %s", name, uuid, after[name]))
		}
	}
	if len(result.Restored) != 1 || len(before) < 3 {
		err = errors.Join(err, fmt.Errorf("of %d indices these were restored: %+v", len(before), result.Restored))
	}
	return err
}

// intoASuffix: a copy is made beside the indices, unnoticed. It is
// what a drill in production does.
func intoASuffix(ctx context.Context, r *rehearsal) error {
	const suffix = "copy"
	if err := r.prepare()(ctx); err != nil {
		return err
	}
	before, err := r.indices(ctx, all)
	if err != nil {
		return err
	}
	r.struck = time.Now() // nothing is
	// The copy ends at the checkpoints, which are some seconds behind what is there.
	if err := r.until(ctx, "the checkpoints to pass what is there", func() (bool, error) {
		listed, err := r.shards(ctx)
		for _, shard := range listed {
			if shard.Checkpoint.ReadUpTo.Before(r.struck) {
				return false, err
			}
		}
		return len(listed) == shards, err
	}); err != nil {
		return err
	}
	if err := r.recover("--into", suffix)(ctx); err != nil {
		return err
	}
	held := false
	if _, err := r.await(ctx, "the copy to be verified", func(p workflows.RecoverProgress) bool {
		held = held || p.Held
		return p.Stage == workflows.StageDone
	}); err != nil {
		return err
	}
	if held {
		return errors.New("shards were paused for a copy")
	}
	if _, err := r.fromGood(ctx); err != nil {
		return err
	}
	copies := r.stores
	copies.Index = all + "-" + suffix
	report, err := audit.Run(ctx, copies, r.upTo(r.struck)...)
	if err := errors.Join(err, report.Clean()); err != nil {
		return fmt.Errorf("the copy: %w", err)
	}
	r.say("the copy has all of the %d records that had been accepted before it was begun", report.Accepted)
	removed, err := r.deleteIndices(ctx, copies.Index)
	if err != nil {
		return err
	}
	after, err := r.indices(ctx, all)
	if err != nil {
		return err
	}
	for name, uuid := range before {
		if after[name] != uuid {
			err = errors.Join(err, fmt.Errorf("%s: it was %s, and is %s", name, uuid, after[name]))
		}
	}
	if len(removed) < len(before) {
		err = errors.Join(err, fmt.Errorf("%d indices were copied of %d", len(removed), len(before)))
	}
	return err
}

// twoAtOnce: a second operator starts a recovery, and learns of the first one.
func twoAtOnce(ctx context.Context, r *rehearsal) error {
	if err := do(ctx, r.prepare(), r.strike(""), r.recover()); err != nil {
		return err
	}
	first := r.temporal.GetWorkflow(ctx, workflows.RecoverID, "")
	_, err := r.pipeline.Starter(ctx, "recover", "--no-follow")
	if err == nil || !strings.Contains(err.Error(), "one runs already, run "+first.GetRunID()) {
		return fmt.Errorf("the second of two recoveries, beside run %s: %w", first.GetRunID(), err)
	}
	r.say("a second recovery is refused")
	_, err = r.fromGood(ctx)
	return err
}

// shortLease is how long shards stay paused for a recovery that is terminated.
const shortLease = 30 * time.Second

// terminated: an operator terminates the recovery while shards are paused for
// it. They go on when the lease ends, and another recovery finishes.
func terminated(ctx context.Context, r *rehearsal) error {
	if err := do(ctx, r.prepare(slowRestore), r.strike(""), r.recover("--lease", shortLease.String())); err != nil {
		return err
	}
	if _, err := r.await(ctx, "the restore", func(p workflows.RecoverProgress) bool {
		return p.Held && p.Stage == workflows.StageRestore
	}); err != nil {
		return err
	}
	if err := r.temporal.TerminateWorkflow(ctx, workflows.RecoverID, "", "a rehearsal"); err != nil {
		return fmt.Errorf("terminate the recovery: %w", err)
	}
	paused, err := r.inState(ctx, control.StatePaused)
	if err != nil {
		return err
	}
	if paused != shards {
		return fmt.Errorf("%d shards are paused when the recovery is terminated", paused)
	}
	r.say("terminated the recovery, with all shards paused for it")
	if err := r.until(ctx, "the shards to go on when the lease ends", func() (bool, error) {
		running, err := r.inState(ctx, control.StateRunning)
		return running == shards, err
	}); err != nil {
		return err
	}
	r.say("the lease has ended, and the shards go on")
	if err := r.recover()(ctx); err != nil {
		return err
	}
	_, err = r.complete(ctx)
	return err
}

// inState counts the shards that are in a state, as an operator sees them.
func (r *rehearsal) inState(ctx context.Context, state string) (count int, err error) {
	listed, err := r.shards(ctx)
	if err != nil {
		return 0, err
	}
	for _, shard := range listed {
		if shard.State == state {
			count++
		}
	}
	return count, nil
}

// shard is one, as an operator sees it.
type shard struct {
	State      string
	Checkpoint telemetry.Checkpoint
}

func (r *rehearsal) shards(ctx context.Context) (listed []shard, err error) {
	out, err := r.pipeline.Starter(ctx, "shards", "--json")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(out), &listed); err != nil {
		return nil, fmt.Errorf("read the state of the shards: %w", err)
	}
	return listed, nil
}
