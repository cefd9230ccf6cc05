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
func (r *rehearsal) recover(flags ...string) step {
	return func(ctx context.Context) error {
		r.begun, r.released, r.verified, r.last = time.Now(), time.Time{}, time.Time{}, workflows.RecoverProgress{}
		if r.options.Limit > 0 {
			flags = append(flags, fmt.Sprintf("--rate=%g", r.options.Limit))
		}
		if _, err := r.pipeline.Starter(ctx, append([]string{"recover", "--no-follow"}, flags...)...); err != nil {
			return err
		}
		r.say("a recovery is started: starter recover%s", joined(flags))
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
func (r *rehearsal) look(ctx context.Context) (p workflows.RecoverProgress, known bool, err error) {
	p, err = r.launcher.RecoverProgress(ctx, workflows.RecoverID)
	if err != nil {
		return p, false, nil // its worker has been killed, or is busy
	}
	before, now := slices.Index(stages, r.last.Stage), slices.Index(stages, p.Stage)
	if now != before {
		r.say("recovery: %s", p.Stage)
	}
	if r.released.IsZero() && now >= slices.Index(stages, workflows.StageBackfill) {
		r.released = time.Now()
	}
	if r.last.ID == p.ID && (now < before || now == before && p.RecordsDone < r.last.RecordsDone) {
		return p, true, fmt.Errorf("the recovery went back, from %s with %d records to %s with %d", r.last.Stage, r.last.RecordsDone, p.Stage, p.RecordsDone)
	}
	r.last = p
	return p, true, nil
}

// await follows the recovery until a condition holds. It may take its time while
// it goes on.
func (r *rehearsal) await(ctx context.Context, what string, condition func(workflows.RecoverProgress) bool) (p workflows.RecoverProgress, err error) {
	moved, before := time.Now(), r.last
	err = poll.Every(ctx, lookEvery, func() (bool, error) {
		var known bool
		if p, known, err = r.look(ctx); err != nil {
			return false, err
		}
		if known && condition(p) {
			return true, nil
		}
		if p.Stage != before.Stage || p.RecordsDone != before.RecordsDone {
			moved, before = time.Now(), p
		}
		if time.Since(moved) > r.options.Patience {
			return false, fmt.Errorf("%s did not happen in time; the recovery is at %+v", what, r.last)
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
func (r *rehearsal) awaitBackfill(ctx context.Context, share float64) error {
	p, err := r.await(ctx, "the backfill to be under way", reached(share))
	if err == nil && p.Stage != workflows.StageBackfill {
		err = errors.New("the backfill was over before something could happen in it: have more --records, or a --limit")
	}
	return err
}

// conclude waits until the recovery has ended, and returns its result.
func (r *rehearsal) conclude(ctx context.Context) (result recovery.RecoverResult, err error) {
	if _, err := r.await(ctx, "the recovery to end", func(workflows.RecoverProgress) bool {
		described, err := r.temporal.DescribeWorkflowExecution(ctx, workflows.RecoverID, "")
		return err == nil && described.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING
	}); err != nil {
		return result, err
	}
	r.verified = time.Now()
	if err := r.temporal.GetWorkflow(ctx, workflows.RecoverID, "").Get(ctx, &result); err != nil {
		return result, fmt.Errorf("the recovery: %w", err)
	}
	r.say("recovery: %d indices restored; backfill %+v; verify %+v; complete: %v", len(result.Restored), result.Backfill, result.Verify, result.Complete)
	return result, nil
}

// complete waits until the recovery has ended, and holds it to its word.
func (r *rehearsal) complete(ctx context.Context) (recovery.RecoverResult, error) {
	result, err := r.conclude(ctx)
	if err == nil && (!result.Complete || !result.Verified || len(result.Missing) > 0) {
		err = fmt.Errorf("the recovery is not complete, it misses %+v", result.Missing)
	}
	return result, err
}
