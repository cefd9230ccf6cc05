package main

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	"millrace/activities/recovery"
	"millrace/internal/control"
	"millrace/internal/index"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// workOnRecoveries runs a worker whose cluster and backup are made up: a call of
// the backfill has done 50 of 100 records and goes on until it is stopped, or
// may end.
func (p pipeline) workOnRecoveries(mayEnd *atomic.Bool) {
	p.t.Helper()
	w := worker.New(p.client, workflows.RecoverQueue, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond})
	sweeps := worker.New(p.client, workflows.SweepQueue, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond})
	w.RegisterWorkflow(workflows.Recover)
	w.RegisterWorkflow(workflows.Replay)
	for name, function := range map[string]any{
		"PlanRecovery": func(_ context.Context, in recovery.PlanInput) (recovery.Plan, error) {
			plan := recovery.Plan{ID: in.ID, Papers: "papers/", Replay: in.Replay, Objects: 2, Records: 100, Pages: 1}
			if in.Replay {
				plan.Broken = []recovery.Gap{{Object: "backup/x", Records: -1, Reason: "before it: made up"}}
			}
			return plan, nil
		},
		"HoldShards": func(context.Context, recovery.HoldInput) (map[string]telemetry.Checkpoint, error) {
			return map[string]telemetry.Checkpoint{}, nil
		},
		"ReleaseShards": func(context.Context, control.Hold) error { return nil },
		"RestoreIndices": func(context.Context, recovery.RestoreInput) (recovery.RestoreProgress, error) {
			return recovery.RestoreProgress{Restored: []recovery.Restored{{Index: "telemetry-a", Documents: 7, Wanted: 7}}}, nil
		},
		"AwaitBackup": func(context.Context, recovery.AwaitInput) (recovery.AwaitResult, error) {
			return recovery.AwaitResult{Passed: true, Pages: 1, Objects: 2, Records: 100}, nil
		},
		"ConcludeRecovery": func(context.Context, recovery.RecoverResult) error { return nil },
	} {
		w.RegisterActivityWithOptions(function, activity.RegisterOptions{Name: name})
	}
	sweeps.RegisterActivityWithOptions(func(ctx context.Context, in recovery.SweepInput) (recovery.SweepProgress, error) {
		done := recovery.SweepProgress{Stage: in.Stage, Part: in.Part, Counts: recovery.SweepCounts{Objects: 1, Records: 50, Indexed: 50}, Worker: "made-up-worker"}
		for !mayEnd.Load() {
			activity.RecordHeartbeat(ctx, done)
			select {
			case <-ctx.Done():
				done.Counts = recovery.SweepCounts{}
				return done, nil
			case <-time.After(20 * time.Millisecond):
			}
		}
		done.Counts, done.Done = recovery.SweepCounts{Objects: 2, Records: 100, Indexed: 90, Duplicates: 10}, true
		return done, nil
	}, activity.RegisterOptions{Name: "SweepObjects"})
	for _, one := range []worker.Worker{w, sweeps} {
		if err := one.Start(); err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(one.Stop)
	}
}

// TestRecoverIsFollowedPausedAndCanceled, and another one goes on from there.
func TestRecoverIsFollowedPausedAndCanceled(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	p.must("recover status", "recover: there was none, see `starter recover`")
	p.fails("recover pause", "pause recover: it does not run (absent)")
	p.must("recover --no-follow", "recover: started, run ", "No worker polls millrace-recover yet")
	p.fails("recover --no-follow", "start recover: one runs already, run ", "`starter recover status`")
	var mayEnd atomic.Bool
	p.workOnRecoveries(&mayEnd)
	progress := func() (got workflows.RecoverProgress) {
		p.mustJSON(&got, "recover status --json")
		return got
	}
	await(t, "the backfill", func() bool { return progress().RecordsDone == 50 })
	p.must("recover status", "backfill [###############...............]  50 %  1 of 2 objects, 50 of about 100 records", "shards      not paused by it", "papers      papers/", "started by  operator")
	p.must("recover set-rate 500", "recover: at 500 records a second at the most")
	p.must("recover status", "rate        at 500 records a second at the most")
	p.fails("recover set-rate -- -1", "rate: -1 is negative")
	p.must("recover pause --reason lunch", "recover: paused, by operator (lunch)")
	p.must("recover status", "paused by operator (lunch)", "state       paused")
	p.must("recover resume", "recover: running")
	await(t, "the backfill again", func() bool { return progress().RecordsDone == 50 })
	p.must("recover cancel", "recover: stopped")
	p.fails("recover status", "recover was canceled: start it again, with the same input: nothing is restored or indexed twice")
	p.must("recover cancel", "recover: does not run")

	mayEnd.Store(true)
	p.must("recover", "restored telemetry-a  7 documents, the snapshot has 7", "100 records of 2 objects: 90 indexed, 10 were there, 0 dead letters", "Complete: nothing is missing.")
	p.must("recover status", "Complete: nothing is missing.")
	p.must("recover --dry-run", "backfill from the beginning of the backup", "Nothing was changed: this is what would be done.")
	p.fails("replay --from 2026-11-23T13:00:00Z --to 2026-11-23T14:00:00Z --into copy",
		"replay/20261123T130000-20261123T140000-copy: started", "missing: an unknown number of records of backup/x: before it: made up", "not all is back: see what is missing above")
}

func TestRecoverProgressLine(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]workflows.RecoverProgress{
		"restore  [######........................]  20 %  1 of 5 shards": {
			Stage: workflows.StageRestore, Restore: recovery.RestoreProgress{Progress: index.Progress{Shards: 5, Done: 1, Bytes: 100, Copied: 20}},
		},
		"verify   [#############################.]  99 %  1 of 2 objects, 100 of about 100 records, 25/s, 1m5s left": {
			Stage: workflows.StageVerify, Objects: 2, ObjectsDone: 1, Records: 100, RecordsDone: 100, Rate: 25, Remaining: 65,
		},
		"await    [..............................]   0 %  for the backup to pass the window's end  it is away": {
			Stage: workflows.StageAwait, LastError: "it is\naway",
		},
		"done     [##############################] 100 %": {Stage: workflows.StageDone},
	} {
		if got := recoverLine(p); got != want {
			t.Errorf("it is\n%s, want\n%s", got, want)
		}
	}
}
