package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/snapshots"
	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/snapshot"
	"millrace/workflows"
)

// workOnSnapshots runs a worker whose cluster is made up: a snapshot is
// complete at once.
func (p pipeline) workOnSnapshots(end snapshots.SnapshotLook) {
	p.t.Helper()
	w := worker.New(p.client, workflows.SnapshotQueue, worker.Options{})
	w.RegisterWorkflow(workflows.SnapshotIndex)
	w.RegisterWorkflow(workflows.EnforceRetention)
	w.RegisterActivityWithOptions(func(context.Context, snapshots.TrimCall) (snapshots.Retirement, error) {
		return snapshots.Retirement{Trimmed: []snapshots.Trim{{Index: "telemetry-span-undated", Documents: 5, Left: 2}}}, nil
	}, activity.RegisterOptions{Name: "TrimIndices"})
	for name, function := range map[string]any{
		"PlanSnapshot": func(_ context.Context, in snapshots.SnapshotCall) (snapshots.SnapshotPlan, error) {
			return snapshots.SnapshotPlan{Name: in.Name, State: snapshot.Planned}, nil
		},
		"BeginSnapshot": func(context.Context, snapshots.SnapshotCall) (snapshots.SnapshotBegun, error) {
			return snapshots.SnapshotBegun{Indices: 2, Documents: 30}, nil
		},
		"FollowSnapshot": func(context.Context, snapshots.SnapshotCall) (snapshots.SnapshotLook, error) { return end, nil },
		"ExpireSnapshots": func(context.Context, snapshots.ExpireCall) (snapshots.Expired, error) {
			return snapshots.Expired{Deleted: 4}, nil
		},
		"EnforceRetention": func(_ context.Context, in snapshots.RetentionCall) (snapshots.Retirement, error) {
			result := snapshots.Retirement{Deleted: []string{"telemetry-span-2020.01.01"}, Documents: 7}
			if in.Days["log"] > 0 {
				result.Uncovered = []string{"telemetry-log-2020.01.01: there is no good snapshot"}
			}
			return result, nil
		},
	} {
		w.RegisterActivityWithOptions(function, activity.RegisterOptions{Name: name})
	}
	if err := w.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(w.Stop)
}

// TestSnapshotThatKeepsFailingSaysWhy, and not only that it took too long.
func TestSnapshotThatKeepsFailingSaysWhy(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	w := worker.New(p.client, workflows.SnapshotQueue, worker.Options{})
	w.RegisterWorkflow(workflows.SnapshotIndex)
	w.RegisterActivityWithOptions(func(context.Context, snapshots.SnapshotCall) (snapshots.SnapshotPlan, error) {
		return snapshots.SnapshotPlan{}, errors.New("repository type [s3] does not exist")
	}, activity.RegisterOptions{Name: "PlanSnapshot"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	p.fails("snapshot take --wait 5s", "not done within 5s (see --wait)", "it is tried again and again, since it fails: PlanSnapshot: repository type [s3] does not exist")
}

func TestSnapshotsAreTakenAndScheduled(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	const id = "snapshot/millrace"
	p.must("snapshot take --wait 0", id+": started")
	p.must("snapshot schedule --every 6h --repository-type fs", "schedule "+id+": created, every 6h0m0s", "No worker polls millrace-snapshot yet")
	p.workOnSnapshots(snapshots.SnapshotLook{State: snapshot.Success})
	p.must("snapshot take", "SUCCESS, 30 documents in 2 indices at the least; 4 old ones deleted")

	p.must("snapshot schedule --every 2h --keep-all 3d --repository other --repository-setting region=eu-west-1", "schedule snapshot/other: created, every 2h0m0s")
	p.must("snapshot schedule --every 2h --keep-all 3d --repository-setting region=eu-west-1", "schedule "+id+": changed, every 2h0m0s")
	described, err := p.client.ScheduleClient().GetHandle(t.Context(), id).Describe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	policy := described.Schedule.Policy
	if policy.Overlap != enums.SCHEDULE_OVERLAP_POLICY_SKIP || policy.CatchupWindow != 2*time.Hour || len(described.Schedule.Spec.Intervals) != 1 ||
		described.Schedule.Spec.Intervals[0].Every != 2*time.Hour {
		t.Errorf("it is %+v, %+v", policy, described.Schedule.Spec)
	}
	handle := p.client.ScheduleClient().GetHandle(t.Context(), id)
	if err := handle.Trigger(t.Context(), client.ScheduleTriggerOptions{}); err != nil {
		t.Fatal(err)
	}
	var run string
	await(t, "the schedule's run", func() bool {
		described, err := handle.Describe(t.Context())
		if err == nil && len(described.Info.RecentActions) > 0 {
			run = described.Info.RecentActions[0].StartWorkflowResult.WorkflowID
		}
		return run != ""
	})
	var status workflows.SnapshotStatus
	if err := p.client.GetWorkflow(t.Context(), run, "").Get(t.Context(), &status); err != nil || status.Snapshot.State != snapshot.Success {
		t.Errorf("%s ended with %+v, %v", run, status, err)
	}
	p.must("snapshot schedule --remove", "schedule "+id+": removed")
	p.must("snapshot schedule --remove", "schedule "+id+": there is none")
}

func TestPartialSnapshotFailsCommand(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	p.workOnSnapshots(snapshots.SnapshotLook{State: snapshot.Partial, Reason: "1 of 2 shards are not in it"})
	p.fails("snapshot take", "SnapshotFailed: snapshot telemetry-", "is PARTIAL: 1 of 2 shards are not in it")
}

func TestRetentionIsRunAndScheduled(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	p.workOnSnapshots(snapshots.SnapshotLook{})
	p.must("retention run --days span=7 --dry-run", "would delete 1 indices with 7 documents\n", "telemetry-span-2020.01.01",
		"would delete 5 documents of 1 indices that are not of one day\n", "telemetry-span-undated: 5 documents, 2 are left for the next run")
	p.must("retention run --days span=7 --yes", "deleted 1 indices with 7 documents\n")
	p.fails("retention run --days default=7 --yes", "RetentionUncovered: 1 indices past their retention, or parts of them, stay")
	p.fails("retention run", "--days: say how long indices are kept")
	p.must("retention schedule --days span=30,default=14", "schedule retention/"+streamName+": created, every 24h0m0s")
	p.must("retention schedule --remove", "schedule retention/"+streamName+": removed")
}

func TestSnapshotsAreListedAndAccepted(t *testing.T) {
	t.Parallel()
	name := localtest.Name(t, "")
	o := newOperator(t, append(localAWS(t), "MILLRACE_BUCKET="+name)...)
	bucket := config.S3(localtest.AWS(t))
	if _, err := archive.Create(t.Context(), bucket, name); err != nil {
		t.Fatal(err)
	}
	catalog := snapshot.Open(archive.Open(bucket, name), snapshot.DefaultRepository)
	o.must("snapshot list", "none: see `starter snapshot schedule`")
	at := time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)
	for _, r := range []snapshot.Record{
		{Name: "first", State: snapshot.Success, Started: at, Ended: at.Add(time.Minute), Indices: map[string]snapshot.Index{"a": {Documents: 12}}},
		{Name: "second", State: snapshot.Success, Started: at.Add(time.Hour), Suspect: "since snapshot first: a has vanished"},
		{Name: "third", State: snapshot.Partial, Started: at.Add(2 * time.Hour), Reason: "1 of 2 shards are not in it"},
	} {
		r.Repository = snapshot.DefaultRepository
		if err := catalog.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	o.must("snapshot list", "first   2026-11-24T04:00:00Z  1m0s  SUCCESS           1        12         0     a recovery would choose this one.",
		"SUCCESS, suspect", "since snapshot first: a has vanished", "PARTIAL", "1 of 2 shards are not in it")
	o.fails("snapshot accept second", "--reason")
	o.must("snapshot accept second --by me --reason looked --yes", "snapshot second: accepted")
	o.must("snapshot accept second --reason again", "it is not suspect")
	o.must("snapshot list", "second  2026-11-24T05:00:00Z  -     SUCCESS  0        0          0     a recovery would choose this one. accepted by me: looked")
	o.fails("snapshot accept fourth --reason x", "no such snapshot")
	var all []snapshot.Record
	if o.mustJSON(&all, "snapshot list --json"); len(all) != 3 || all[1].Accepted == nil || all[1].Accepted.Was == "" {
		t.Errorf("%+v", all)
	}
}
