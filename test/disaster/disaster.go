package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/internal/control"
	"millrace/test/kit/poll"
	"millrace/workflows"
)

// scenarios are the disaster, and whatever else may go wrong that night.
var scenarios = []scenario{
	{name: "disaster", run: disaster, paced: true},
	{name: "partial-snapshot", run: partialSnapshot},
	{name: "suspect-snapshot", run: suspectSnapshot},
	{name: "no-snapshot", run: noSnapshot},
	{name: "repository-unreachable", run: repositoryUnreachable},
	{name: "elasticsearch-restarted", run: elasticsearchRestarted},
	{name: "damaged-backup", run: damagedBackup},
	{name: "dead-letters-home", run: deadLettersHome},
	{name: "one-index", run: oneIndex},
	{name: "into-a-suffix", run: intoASuffix},
	{name: "two-at-once", run: twoAtOnce},
	{name: "terminated", run: terminated},
}

const (
	// stillFor is how long is looked whether a paused recovery does nothing.
	stillFor = 3 * time.Second
	// pauseAt and killAt are shares of the backfill.
	pauseAt, killAt = 0.2, 0.4
)

// disaster takes all indices away, some time after a snapshot, and has Recover
// bring them back. Meanwhile it is paused and resumed, and its worker killed.
func disaster(ctx context.Context, r *rehearsal) error {
	half := r.options.Records / 2
	if err := do(ctx,
		r.load(half), r.snapshot(), r.load(r.options.Records-half), r.watch,
		r.strike(""), r.recover(), r.pauseAndResume, r.killRecoverer,
	); err != nil {
		return err
	}
	result, err := r.complete(ctx)
	if err != nil {
		return err
	}
	if len(result.Restored) == 0 || result.Backfill.Indexed < int64(half)*9/10 {
		return fmt.Errorf("the recovery had little to do: %+v", result)
	}
	return poll.For(ctx, r.options.Steady)
}

// pauseAndResume pauses the recovery in its backfill, checks that nothing
// happens then, and resumes it.
func (r *rehearsal) pauseAndResume(ctx context.Context) error {
	if err := r.awaitBackfill(ctx, pauseAt); err != nil {
		return err
	}
	if _, err := r.pipeline.Starter(ctx, "recover", "pause", "--reason", "rehearsal", "--wait", "1m"); err != nil {
		return err
	}
	p, _, err := r.look(ctx)
	if err != nil {
		return err
	}
	r.say("paused after %d of about %d records", p.RecordsDone, p.Records)
	if err := poll.For(ctx, stillFor); err != nil {
		return err
	}
	still, _, err := r.look(ctx)
	if err != nil {
		return err
	}
	if p.State != control.StatePaused || still.State != control.StatePaused || still.RecordsDone != p.RecordsDone || still.Stage != workflows.StageBackfill {
		return fmt.Errorf("paused, the recovery went from %+v to %+v", p, still)
	}
	if _, err := r.pipeline.Starter(ctx, "recover", "resume", "--wait", "1m"); err != nil {
		return err
	}
	r.say("resumed")
	_, err = r.await(ctx, "the recovery to go on", func(p workflows.RecoverProgress) bool { return p.RecordsDone > still.RecordsDone })
	return err
}

// killRecoverer kills the worker that recovers, in the middle of the backfill,
// and starts it again.
func (r *rehearsal) killRecoverer(ctx context.Context) error {
	if err := r.awaitBackfill(ctx, killAt); err != nil {
		return err
	}
	r.recoverer.Kill()
	p := r.last
	r.say("killed the worker of the recovery after %d of about %d records", p.RecordsDone, p.Records)
	if p.RecordsDone >= p.Records {
		return errors.New("there was nothing left to do when the worker was killed")
	}
	if err := r.recoverer.Restart(ctx); err != nil {
		return err
	}
	r.say("started it again")
	_, err := r.await(ctx, "the recovery to go on", func(now workflows.RecoverProgress) bool {
		return now.Stage != p.Stage || now.RecordsDone > p.RecordsDone
	})
	return err
}
