package workflows

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/recovery"
	"millrace/internal/telemetry"
)

// What Recover and Replay answer to, beside pause and resume. Each update is a
// signal of the same name and input, too.
const (
	ProgressQuery = "progress"
	SetRate       = "setRate" // input: RateInput
)

// RateInput is the input of setRate.
type RateInput struct {
	// Rate is records a second, for all workers together. Zero is as many as
	// live traffic does not feel.
	Rate float64 `json:"rate"`
}

// RecoverInput is the input of Recover and Replay. Every field is optional: {}
// restores what is missing from the last good snapshot, and brings back all
// that came after it.
type RecoverInput struct {
	recovery.RecoverRequest
	// DryRun returns the plan, and changes nothing.
	DryRun bool `json:"dryRun,omitempty"`
	// Rate is where setRate begins.
	Rate float64 `json:"rate,omitempty"`
	// Lanes is how many pages are worked on at once; DefaultLanes when zero.
	Lanes int `json:"lanes,omitempty"`
	// Lease is how long shards stay paused when the recovery is not heard of;
	// DefaultLease when zero.
	Lease time.Duration `json:"lease,omitempty"`
	// BackupWait is how long to wait for the backup before what it does not have
	// counts as missing; DefaultBackupWait when zero.
	BackupWait time.Duration `json:"backupWait,omitempty"`
	// CallFor is how long one call of SweepObjects takes; DefaultSweepFor when
	// zero.
	CallFor time.Duration `json:"callFor,omitempty"`
	// State is what a run hands over to the next.
	State *RecoverState `json:"state,omitempty"`

	unknown unknown
}

// UnmarshalJSON implements json.Unmarshaler.
func (in *RecoverInput) UnmarshalJSON(text []byte) error {
	type plain RecoverInput
	return in.unknown.decode(text, (*plain)(in))
}

// RecoverState is what a run of Recover hands over to the next.
type RecoverState struct {
	ID         string                          `json:"id"`
	Began      time.Time                       `json:"began"`
	Stage      string                          `json:"stage"`
	Plan       recovery.Plan                   `json:"plan"`
	Generation uint64                          `json:"generation,omitempty"`
	Held       bool                            `json:"held,omitempty"`
	Order      uint64                          `json:"order,omitempty"` // of the last command to shards
	Reached    map[string]telemetry.Checkpoint `json:"reached,omitempty"`
	Restore    recovery.RestoreProgress        `json:"restore,omitzero"`
	Backfill   Sweep                           `json:"backfill,omitzero"`
	Verify     Sweep                           `json:"verify,omitzero"`
	Verified   bool                            `json:"verified,omitempty"`
	Gaps       []recovery.Gap                  `json:"gaps,omitempty"`
	Holds      holds                           `json:"holds,omitempty"`
}

// Stages of a recovery. A replay has setup, backfill and done.
const (
	StageSetup    = "setup"
	StageRestore  = "restore"
	StageBackfill = recovery.SweepBackfill
	StageAwait    = "await" // the backup
	StageVerify   = recovery.SweepVerify
	StageDone     = "done"
)

// recoverHolder is in whose name shards are paused.
const recoverHolder = "recover"

// recovering is one run of Recover or Replay.
type recovering struct {
	*RecoverState
	in      RecoverInput
	replay  bool
	state   string
	sweep   *sweeping // the present one
	problem string
}

// Validate reports what cannot be meant.
func (in RecoverInput) Validate() error {
	errs := []error{in.RecoverRequest.Validate()}
	if in.Rate < 0 {
		errs = append(errs, fmt.Errorf("rate: %g is negative", in.Rate))
	}
	if in.Lanes < 0 || in.Lanes > mostLanes {
		errs = append(errs, fmt.Errorf("lanes: %d is not from 1 to %d", in.Lanes, mostLanes))
	}
	if in.Lease != 0 && in.Lease < leastLease {
		errs = append(errs, fmt.Errorf("lease: %s is less than %s", in.Lease, leastLease))
	}
	if in.CallFor != 0 && in.CallFor < leastSweepFor {
		errs = append(errs, fmt.Errorf("callFor: %s is less than %s", in.CallFor, leastSweepFor))
	}
	if in.BackupWait < 0 {
		errs = append(errs, fmt.Errorf("backupWait: %s is negative", in.BackupWait))
	}
	return errors.Join(errs...)
}

func (in RecoverInput) withDefaults() RecoverInput {
	if in.Lanes == 0 {
		in.Lanes = DefaultLanes
	}
	if in.Lease == 0 {
		in.Lease = DefaultLease
	}
	if in.BackupWait == 0 {
		in.BackupWait = DefaultBackupWait
	}
	if in.CallFor == 0 {
		in.CallFor = DefaultSweepFor
	}
	return in
}

// Recover brings back what Elasticsearch has lost in a disaster: it restores a
// snapshot, indexes later records from the backup, and compares both until nothing
// is missing, or lists what is.
//
// Its id is RecoverID, which is the lock: started under another one, it runs as
// a child of that name, and fails if there is one already. Canceled or failed
// at any point, it leaves the shards running, and can be started again: nothing
// is restored twice.
func Recover(ctx workflow.Context, in RecoverInput) (recovery.RecoverResult, error) {
	if err := in.unknown.refuse(ctx); err != nil {
		return recovery.RecoverResult{}, err
	}
	if err := in.Validate(); err != nil {
		return recovery.RecoverResult{}, temporal.NewNonRetryableApplicationError(err.Error(), recovery.InvalidRequest, nil)
	}
	if workflow.GetInfo(ctx).WorkflowExecution.ID != RecoverID {
		return recoverAsChild(ctx, in)
	}
	return newRecovery(ctx, in, false).main(ctx, Recover)
}

// Replay indexes a window of the backup once more, into the indices that it was
// in, or into others behind a suffix.
func Replay(ctx workflow.Context, in RecoverInput) (recovery.RecoverResult, error) {
	if err := in.unknown.refuse(ctx); err != nil {
		return recovery.RecoverResult{}, err
	}
	err := in.Validate()
	if in.From.IsZero() || in.To.IsZero() {
		err = errors.Join(err, errors.New("from, to: say which time is to be replayed"))
	}
	if in.Snapshot != "" || !in.Before.IsZero() || in.Replace {
		err = errors.Join(err, errors.New("snapshot, before, replace: a replay restores nothing, see Recover"))
	}
	if err != nil {
		return recovery.RecoverResult{}, temporal.NewNonRetryableApplicationError(err.Error(), recovery.InvalidRequest, nil)
	}
	return newRecovery(ctx, in, true).main(ctx, Replay)
}

// recoverAsChild runs the recovery under the id that is its lock.
func recoverAsChild(ctx workflow.Context, in RecoverInput) (result recovery.RecoverResult, err error) {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: RecoverID, TaskQueue: RecoverQueue, WaitForCancellation: true, StaticSummary: "recovery",
		TypedSearchAttributes: temporal.NewSearchAttributes(Stage.ValueSet(recoverHolder)),
	})
	workflow.SetCurrentDetails(ctx, "### The recovery runs as workflow `"+RecoverID+"`: see there")
	err = workflow.ExecuteChildWorkflow(ctx, Recover, in).Get(ctx, &result)
	var already *temporal.ChildWorkflowExecutionAlreadyStartedError
	if errors.As(err, &already) {
		return result, temporal.NewNonRetryableApplicationError("a recovery runs already, as workflow "+RecoverID+
			": follow it with `starter recover status`, or end it with `starter recover cancel`", recovery.InvalidRequest, nil)
	}
	return result, err
}

func newRecovery(ctx workflow.Context, in RecoverInput, replay bool) *recovering {
	r := &recovering{in: in.withDefaults(), RecoverState: in.State, replay: replay}
	if r.RecoverState == nil {
		kind, info := "recover", workflow.GetInfo(ctx)
		if replay {
			kind = "replay"
		}
		// A reset to a later event replays this in another run, and goes on under the same id.
		run := cmp.Or(info.OriginalRunID, info.WorkflowExecution.RunID)
		now := workflow.Now(ctx).UTC()
		r.RecoverState = &RecoverState{
			ID: kind + "-" + now.Format("20060102-150405") + "-" + run[:8], Began: now, Stage: StageSetup,
		}
	}
	return r
}

func (r *recovering) main(ctx workflow.Context, self any) (recovery.RecoverResult, error) {
	r.show(ctx)
	answer := func() (RecoverProgress, error) { return r.progress(), nil }
	for _, query := range []string{ProgressQuery, StatusQuery} {
		if err := workflow.SetQueryHandler(ctx, query, answer); err != nil {
			return r.result(ctx), fmt.Errorf("answer the query %s: %w", query, err)
		}
	}
	if err := onCommand(ctx, r.command); err != nil {
		return r.result(ctx), err
	}
	if err := accept(ctx, []string{SetRate}, r.setRate); err != nil {
		return r.result(ctx), err
	}
	err := r.run(ctx)
	if waiting := awaitHandlers(ctx); waiting != nil {
		return r.result(ctx), waiting
	}
	if errors.Is(err, errContinue) {
		r.Holds.applySignals(ctx)
		r.in.State = r.RecoverState
		return r.result(ctx), workflow.NewContinueAsNewError(ctx, self, r.in)
	}
	return r.conclude(ctx, err)
}

// run goes on at its stage.
func (r *recovering) run(ctx workflow.Context) error {
	stop := r.keepHeld(ctx)
	defer stop()
	for r.Stage != StageDone {
		var err error
		switch r.Stage {
		case StageSetup:
			err = r.setup(ctx)
		case StageRestore:
			err = r.restore(ctx, stop)
		case StageBackfill:
			err = r.sweepList(ctx, &r.Backfill, StageAwait)
		case StageAwait:
			err = r.await(ctx)
		case StageVerify:
			err = r.sweepList(ctx, &r.Verify, StageDone)
			r.Verified = err == nil
		}
		if err != nil {
			return err
		}
		r.show(ctx)
	}
	return nil
}

// setup makes the plan, pauses all shards, and freezes it.
func (r *recovering) setup(ctx workflow.Context) (err error) {
	if r.in.DryRun || !r.replay {
		if err := r.plan(ctx, recovery.PlanInput{}); err != nil || r.in.DryRun {
			if err == nil {
				r.Stage = StageDone
			}
			return err
		}
	}
	if !r.replay && r.in.Into == "" {
		if err := r.hold(ctx); err != nil {
			return err
		}
	}
	if err := r.plan(ctx, recovery.PlanInput{Freeze: true, Reached: r.Reached, Normal: r.Plan.Normal}); err != nil {
		return err
	}
	r.Backfill = Sweep{Stage: StageBackfill, Pages: r.Plan.Pages}
	r.Stage = StageRestore
	if r.replay {
		r.Stage = StageBackfill
	}
	return nil
}

func (r *recovering) plan(ctx workflow.Context, in recovery.PlanInput) error {
	in.ID, in.Request, in.Replay, in.Rate, in.DryRun = r.ID, r.in.RecoverRequest, r.replay, r.in.Rate, r.in.DryRun
	err := recovery.PlanRecovery.Execute(workflow.WithActivityOptions(ctx, planOptions), in).Get(ctx, &r.Plan)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	if r.Plan.Papers == "" && ignore(ctx, string(recovery.PlanRecovery)) {
		return refuseByHand(string(recovery.PlanRecovery))
	}
	r.show(ctx)
	return nil
}

// restore restores what the plan says, ensures that nothing was indexed meanwhile
// beside it, and releases the shards.
func (r *recovering) restore(ctx workflow.Context, stopRenewing func()) error {
	err := recovery.RestoreIndices.Execute(workflow.WithActivityOptions(ctx, restoreOptions), recovery.RestoreInput{Papers: r.Plan.Papers}).Get(ctx, &r.Restore)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if len(r.Plan.Restore) > 0 && r.Restore.Indices == 0 && ignore(ctx, string(recovery.RestoreIndices)) {
		return refuseByHand(string(recovery.RestoreIndices))
	}
	if r.Held {
		before := r.Reached
		if err := r.hold(ctx); err != nil {
			return err
		}
		if moved(before, r.Reached) {
			err := recovery.ExtendWindow.Execute(workflow.WithActivityOptions(ctx, planOptions), recovery.ExtendInput{
				Papers: r.Plan.Papers, Request: r.in.RecoverRequest, Reached: r.Reached,
			}).Get(ctx, &r.Plan)
			if err != nil {
				return fmt.Errorf("list anew what came during the restore: %w", err)
			}
			r.Backfill.Pages = r.Plan.Pages
		}
		stopRenewing()
		if err := r.release(ctx); err != nil {
			return err
		}
	}
	r.Stage = StageBackfill
	return nil
}

// moved reports whether a shard went on although it was paused.
func moved(before, now map[string]telemetry.Checkpoint) bool {
	for _, shard := range workflow.DeterministicKeys(now) {
		if before[shard].Sequence != now[shard].Sequence {
			return true
		}
	}
	return false
}

// sweepList goes through a list, and then on to the next stage.
func (r *recovering) sweepList(ctx workflow.Context, list *Sweep, next string) error {
	if list.Began.IsZero() {
		list.Began = workflow.Now(ctx).UTC()
	}
	r.sweep = &sweeping{
		Sweep: list, papers: r.Plan.Papers, callFor: r.in.CallFor, lanes: r.in.Lanes,
		rate: func() float64 { return r.in.Rate }, paused: func() bool { return len(r.Holds) > 0 },
		learned: func() { r.show(ctx) },
	}
	r.show(ctx)
	done := false
	workflow.Go(ctx, func(ctx workflow.Context) { // holds that expire
		for !done && ctx.Err() == nil {
			_ = r.Holds.wait(ctx)
		}
	})
	err := r.sweep.run(ctx)
	done = true
	if err != nil {
		return err
	}
	r.Stage = next
	if r.replay {
		r.Stage = StageDone
	}
	return nil
}

// await waits for the backup, and learns what there is to verify.
func (r *recovering) await(ctx workflow.Context) error {
	var found recovery.AwaitResult
	in := recovery.AwaitInput{Papers: r.Plan.Papers, For: r.in.BackupWait, Request: r.in.RecoverRequest}
	if r.in.Mode == recovery.ModeIngest {
		in.Put = workflow.Now(ctx).UTC()
	}
	err := recovery.AwaitBackup.Execute(workflow.WithActivityOptions(ctx, awaitOptions(r.in.BackupWait)), in).Get(ctx, &found)
	if err != nil {
		return fmt.Errorf("wait for the backup: %w", err)
	}
	if found.Pages == 0 && r.Plan.Pages > 0 && len(found.Gaps) == 0 && ignore(ctx, string(recovery.AwaitBackup)) {
		return refuseByHand(string(recovery.AwaitBackup))
	}
	r.Gaps = found.Gaps
	r.Verify = Sweep{Stage: StageVerify, Pages: found.Pages, Pace: r.Backfill.Pace}
	r.Plan.Objects, r.Plan.Records = found.Objects, max(found.Records, r.Backfill.Counts.Records)
	r.Stage = StageVerify
	return nil
}

// conclude ends the recovery, however it went: shards go on, and the result is
// in the bucket.
func (r *recovering) conclude(ctx workflow.Context, failed error) (recovery.RecoverResult, error) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if r.Held {
		if err := r.release(ctx); err != nil {
			return r.result(ctx), err
		}
	}
	result := r.result(ctx)
	if failed != nil {
		result.Error = failed.Error()
		var application *temporal.ApplicationError
		if errors.As(failed, &application) {
			result.Error = application.Message()
		}
		if temporal.IsCanceledError(failed) {
			result.Error = "canceled"
		}
		result.GoOn = r.goOn()
	}
	if r.Plan.Papers != "" && !r.in.DryRun && r.Stage != StageSetup {
		if err := recovery.ConcludeRecovery.Execute(workflow.WithActivityOptions(ctx, concludeOptions), result).Get(ctx, nil); err != nil {
			return result, fmt.Errorf("write the result: %w", err)
		}
	}
	r.problem = strings.TrimSpace(result.Error)
	r.show(ctx)
	if failed != nil && temporal.IsCanceledError(failed) {
		return result, temporal.NewCanceledError(result)
	}
	return result, failed
}

// goOn says what to do after an end that came early.
func (r *recovering) goOn() string {
	switch begun := r.Stage != StageSetup && len(r.Plan.Restore) > 0; {
	case begun && r.in.Into != "":
		return "start it again into another suffix, or delete the copies *-" + r.in.Into + " first: a snapshot is not restored over them"
	case begun && r.in.Replace && r.Stage == StageRestore:
		return "start it again, with the same input: what was replaced already is replaced once more"
	case begun && r.in.Replace:
		return "start it again, without replace: all was replaced, and no record is indexed twice"
	}
	return "start it again, with the same input: nothing is restored or indexed twice"
}

// result is what there is to say.
func (r *recovering) result(ctx workflow.Context) recovery.RecoverResult {
	missing := r.missing()
	restored, _ := r.Restore.Total()
	verified := r.Verified || r.replay && r.Stage == StageDone && !r.in.DryRun // there is nothing to hold a replay against
	return recovery.RecoverResult{
		ID: r.ID, Began: r.Began, Ended: workflow.Now(ctx).UTC(), Plan: r.Plan, Restored: r.Restore.Restored, Indices: restored,
		Backfill: r.Backfill.Counts, Verify: r.Verify.Counts, Verified: r.Verified, Papers: r.Plan.Papers, Missing: missing,
		Complete: verified && len(missing) == 0 && r.Verify.Counts.Missing == 0,
	}
}

// missing is what could not be brought back, as far as that is known.
func (r *recovering) missing() []recovery.Gap {
	missing := append(append([]recovery.Gap{}, r.Gaps...), r.Plan.Broken...)
	for _, restored := range r.Restore.Restored {
		if restored.Documents < restored.Wanted {
			missing = append(missing, recovery.Gap{
				Index: restored.Index, Records: restored.Wanted - restored.Documents, Reason: "the restored index has fewer documents than the snapshot",
			})
		}
	}
	for _, kept := range r.Plan.Fewer {
		missing = append(missing, recovery.Gap{
			Index: kept.Index, Records: kept.Wanted - kept.Documents, Reason: "the index was kept, and has fewer documents than the snapshot",
		})
	}
	return append(append(missing, r.Backfill.Missing...), r.Verify.Missing...)
}
