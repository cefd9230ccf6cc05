package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.temporal.io/api/enums/v1"

	"millrace/activities/recovery"
	"millrace/test/kit/poll"
	"millrace/workflows"
)

// lookEvery is how often a recovery is looked at.
const lookEvery = 250 * time.Millisecond

// recover starts a recovery, as an operator would who has something else to do
// than to follow it.
func (d *drilling) recover(flags ...string) step {
	return func(ctx context.Context) error {
		d.begun, d.released, d.verified, d.last = time.Now(), time.Time{}, time.Time{}, workflows.RecoverProgress{}
		if d.options.Limit > 0 {
			flags = append(flags, fmt.Sprintf("--rate=%g", d.options.Limit))
		}
		if _, err := d.pipeline.Starter(ctx, append([]string{"recover", "--no-follow"}, flags...)...); err != nil {
			return err
		}
		d.say("a recovery is started: starter recover%s", joined(flags))
		return nil
	}
}

func joined(flags []string) (text string) {
	for _, flag := range flags {
		text += " " + flag
	}
	return text
}

// stages are in this order.
var stages = []string{
	workflows.StageSetup, workflows.StageRestore, workflows.StageBackfill, workflows.StageAwait, workflows.StageVerify, workflows.StageDone,
}

// look asks the recovery how far it is, and fails if that is less than before.
func (d *drilling) look(ctx context.Context) (p workflows.RecoverProgress, known bool, err error) {
	p, err = d.launcher.RecoverProgress(ctx, workflows.RecoverID)
	if err != nil {
		return p, false, nil // its worker has been killed, or is busy
	}
	before, now := slices.Index(stages, d.last.Stage), slices.Index(stages, p.Stage)
	if now != before {
		d.say("recovery: %s", p.Stage)
	}
	if d.released.IsZero() && now >= slices.Index(stages, workflows.StageBackfill) {
		d.released = time.Now()
	}
	if d.last.ID == p.ID && (now < before || now == before && p.RecordsDone < d.last.RecordsDone) {
		return p, true, fmt.Errorf("the recovery went back, from %s with %d records to %s with %d", d.last.Stage, d.last.RecordsDone, p.Stage, p.RecordsDone)
	}
	d.last = p
	return p, true, nil
}

// await follows the recovery until a condition holds. It may take its time while
// it goes on.
func (d *drilling) await(ctx context.Context, what string, condition func(workflows.RecoverProgress) bool) (p workflows.RecoverProgress, err error) {
	moved, before := time.Now(), d.last
	err = poll.Every(ctx, lookEvery, func() (bool, error) {
		var known bool
		if p, known, err = d.look(ctx); err != nil {
			return false, err
		}
		if known && condition(p) {
			return true, nil
		}
		if p.Stage != before.Stage || p.RecordsDone != before.RecordsDone {
			moved, before = time.Now(), p
		}
		if time.Since(moved) > d.options.Patience {
			return false, fmt.Errorf("%s did not happen in time; the recovery is at %+v", what, d.last)
		}
		return false, nil
	})
	return p, err
}

// reached is the condition that a share of the backfill is done.
func reached(share float64) func(workflows.RecoverProgress) bool {
	return func(p workflows.RecoverProgress) bool {
		return slices.Index(stages, p.Stage) > slices.Index(stages, workflows.StageBackfill) ||
			p.Stage == workflows.StageBackfill && p.RecordsDone > 0 && float64(p.RecordsDone) >= share*float64(p.Records)
	}
}

// awaitBackfill waits until a share of the backfill is done, and not all of it.
func (d *drilling) awaitBackfill(ctx context.Context, share float64) error {
	p, err := d.await(ctx, "the backfill to be under way", reached(share))
	if err == nil && p.Stage != workflows.StageBackfill {
		err = errors.New("the backfill was over before something could happen in it: have more --records, or a --limit")
	}
	return err
}

// conclude waits until the recovery has ended, and returns its result.
func (d *drilling) conclude(ctx context.Context) (result recovery.RecoverResult, err error) {
	if _, err := d.await(ctx, "the recovery to end", func(workflows.RecoverProgress) bool {
		described, err := d.temporal.DescribeWorkflowExecution(ctx, workflows.RecoverID, "")
		return err == nil && described.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	}); err != nil {
		return result, err
	}
	d.verified = time.Now()
	if err := d.temporal.GetWorkflow(ctx, workflows.RecoverID, "").Get(ctx, &result); err != nil {
		return result, fmt.Errorf("the recovery: %w", err)
	}
	d.say("recovery: %d indices restored; backfill %+v; verify %+v; complete: %v", len(result.Restored), result.Backfill, result.Verify, result.Complete)
	return result, nil
}

// complete waits until the recovery has ended, and holds it to its word.
func (d *drilling) complete(ctx context.Context) (recovery.RecoverResult, error) {
	result, err := d.conclude(ctx)
	if err == nil && (!result.Complete || !result.Verified || len(result.Missing) > 0) {
		err = fmt.Errorf("the recovery is not complete, it misses %+v", result.Missing)
	}
	return result, err
}
