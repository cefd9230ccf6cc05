package recovery

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/recovery"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/control"
	"millrace/workflows"
)

// gone is a pipeline whose indices were deleted after so many records, all of them
// backed up.
func gone(t *testing.T, records int) *pipeline {
	t.Helper()
	p := newPipeline(t)
	p.send("r", records, 2)
	p.indexed()
	p.backUp()
	p.disaster()
	return p
}

// objects are those of the backup.
func (p *pipeline) objects() (all []archive.Object) {
	p.t.Helper()
	for object, err := range p.Backups.List(p.t.Context(), backup.Prefix) {
		p.must(err)
		all = append(all, object)
	}
	return all
}

func (p *pipeline) papers() (keys []string) {
	p.t.Helper()
	for key, err := range p.Bucket.Keys(p.t.Context(), "recovery/") {
		p.must(err)
		keys = append(keys, key)
	}
	return keys
}

// running reports whether all shards go on.
func (p *pipeline) running() bool {
	shards, err := p.Stream.Shards(p.t.Context())
	p.must(err)
	for _, shard := range shards {
		state, err := p.launcher.Look(p.t.Context(), p.StreamID(), shard.ID)
		if err != nil || state != control.StateRunning {
			return false
		}
	}
	return true
}

func (p *pipeline) update(name string, in any) (progress workflows.RecoverProgress) {
	p.t.Helper()
	update, err := p.client.UpdateWorkflow(p.t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: workflows.RecoverID, UpdateName: name, Args: []any{in}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	p.must(err)
	p.must(update.Get(p.t.Context(), &progress))
	return progress
}

func (p *pipeline) progress() workflows.RecoverProgress {
	progress, err := p.launcher.RecoverProgress(p.t.Context(), workflows.RecoverID)
	if err != nil {
		return workflows.RecoverProgress{}
	}
	return progress
}

// TestRecoverWithoutSnapshot: a dry run changes nothing, the backup alone brings all
// back, but for what came home from the ledger, and what that has is not there
// twice.
func TestRecoverWithoutSnapshot(t *testing.T) {
	t.Parallel()
	p := gone(t, 1500)
	p.passed() // a dry run plans up to where shards are known to be
	p.broughtHome("home")
	plan := p.result(p.begin(workflows.RecoverInput{DryRun: true})).Plan
	if plan.Objects == 0 || plan.Records < 1000 || plan.Snapshot != "" || len(plan.Warnings) == 0 {
		t.Errorf("the plan is %+v", plan)
	}
	if papers := p.papers(); len(papers) > 0 || !p.running() || len(p.states()) > 0 {
		t.Errorf("a dry run wrote %q, or stopped shards, or made indices", papers)
	}
	result := p.result(p.begin(workflows.RecoverInput{}))
	if !result.Complete || result.Backfill.Indexed != 1501 || result.Backfill.Dead != 2 || result.Verify.Indexed != 0 {
		t.Errorf("the result is %+v", result)
	}
	p.complete()
	report := ""
	for _, key := range p.papers() {
		if strings.Contains(key, "/backfill/report/") {
			text, err := p.Bucket.Get(t.Context(), key)
			p.must(err)
			report += string(text)
		}
	}
	if lines := strings.Count(report, "\n"); lines != len(p.objects())+1 || strings.Count(report, `"outcome":"succeeded"`) != lines {
		t.Errorf("the report has %d lines for %d objects: %s", lines, len(p.objects()), report)
	}
}

// TestRecoverListsDamagedObjects: one is corrupt, one is empty, and their
// neighbours come back.
func TestRecoverListsDamagedObjects(t *testing.T) {
	t.Parallel()
	p := gone(t, 3000)
	all := p.objects()
	corrupt, err := p.Bucket.Get(t.Context(), all[0].Key)
	p.must(err)
	p.must(p.Bucket.Put(t.Context(), all[0].Key, corrupt[:len(corrupt)/2]))
	p.must(p.Bucket.Put(t.Context(), all[1].Key, nil))
	run := p.begin(workflows.RecoverInput{BackupWait: time.Second})
	result := p.result(run)
	if result.Complete || !result.Verified || result.Backfill.Damaged != 2 || result.Verify.Damaged != 2 || len(result.Missing) < 2 {
		t.Errorf("the result is %+v", result)
	}
	for _, damaged := range all[:2] {
		listed := false
		for _, gap := range result.Missing {
			listed = listed || gap.Object == damaged.Key && gap.Reason != ""
		}
		if !listed {
			t.Errorf("%s is not listed in %+v", damaged.Key, result.Missing)
		}
	}
	found := p.ids("")
	if len(found) < 2000 || len(found) >= 3000 {
		t.Errorf("%d documents are back", len(found))
	}
}

// TestRecoverReportsDeletedObjects: one object is gone before the
// recovery lists them, another one before it is read. Neither is in the list of
// verify, and yet nothing is called complete.
func TestRecoverReportsDeletedObjects(t *testing.T) {
	t.Parallel()
	p := gone(t, 3000)
	all := p.objects()
	before, meanwhile, next := all[1].Key, all[len(all)-2].Key, all[2].Key
	p.must(p.Bucket.Delete(t.Context(), before))
	run := p.begin(workflows.RecoverInput{Rate: 150, Lanes: 1})
	p.await("the backfill", func() bool { return p.progress().RecordsDone > 0 })
	p.must(p.Bucket.Delete(t.Context(), meanwhile))
	p.must(p.client.SignalWorkflow(t.Context(), workflows.RecoverID, "", workflows.SetRate, workflows.RateInput{}))
	result := p.result(run)
	if result.Complete || !result.Verified || result.Verify.Missing > 0 || result.Verify.Damaged > 0 {
		t.Errorf("the result is %+v", result)
	}
	listed := map[string]bool{}
	for _, gap := range result.Missing {
		listed[gap.Object] = gap.Reason != ""
	}
	if !listed[next] || !listed[meanwhile] {
		t.Errorf("it does not list what is missing before %s, and %s: %+v", next, meanwhile, result.Missing)
	}
	written := 0
	for _, key := range p.papers() {
		if strings.HasSuffix(key, "/verify/missing/chains.ndjson") || strings.Contains(key, "/backfill/missing/") {
			written++
		}
	}
	if written != 2 {
		t.Errorf("%d papers say so", written)
	}
}

// TestRecoverIntoSuffix: nothing that is there is touched, and no shard stands still.
func TestRecoverIntoSuffix(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.send("before", 500, 0)
	p.indexed()
	p.snapshot()
	p.send("after", 500, 1)
	p.indexed()
	p.passed() // a copy ends at the checkpoints
	p.backUp()
	before := p.states()
	result := p.result(p.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Into: "drill"}}))
	if !result.Complete || len(result.Restored) != 2 {
		t.Errorf("the result is %+v", result)
	}
	copied := p.ids("-drill")
	for id := range p.sent {
		if copied[id] != 1 {
			t.Fatalf("%s is in the copy %d times", id, copied[id])
		}
	}
	after := p.states()
	for name, state := range before {
		if after[name].UUID != state.UUID {
			t.Errorf("%s was replaced", name)
		}
	}
	p.complete()
}

// TestSecondRecoverIsRefusedAndCanceledOneContinues: the second one is refused, also under
// another id; what is canceled leaves the shards going on, and the next one
// brings the rest.
func TestSecondRecoverIsRefusedAndCanceledOneContinues(t *testing.T) {
	t.Parallel()
	p := gone(t, 4000)
	first := p.begin(workflows.RecoverInput{Rate: 200})
	_, err := p.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: workflows.RecoverID, TaskQueue: workflows.RecoverQueue, WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, workflows.Recover, workflows.RecoverInput{})
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if !errors.As(err, &already) || already.RunId != first.GetRunID() {
		t.Errorf("the second one: %v", err)
	}
	other, err := p.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "by-hand", TaskQueue: workflows.RecoverQueue},
		workflows.Recover, workflows.RecoverInput{})
	p.must(err)
	if err := other.Get(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "a recovery runs already") {
		t.Errorf("one under another id: %v", err)
	}
	p.await("the backfill", func() bool { now := p.progress(); return now.Stage == workflows.StageBackfill && now.RecordsDone > 300 })
	paused := p.update(workflows.Pause, control.Hold{Reason: "a test"})
	at := p.progress()
	if paused.State != control.StatePaused || at.RecordsDone >= 4000 {
		t.Errorf("paused it is %+v", at)
	}
	p.must(p.client.SignalWorkflow(t.Context(), workflows.RecoverID, "", workflows.SetRate, workflows.RateInput{Rate: 300}))
	p.must(p.client.SignalWorkflow(t.Context(), workflows.RecoverID, "", workflows.Resume, nil))
	p.await("it to go on", func() bool { now := p.progress(); return now.RecordsDone > at.RecordsDone && now.Limit == 300 })
	p.must(p.client.CancelWorkflow(t.Context(), workflows.RecoverID, ""))
	var canceled *temporal.CanceledError
	var result recovery.RecoverResult
	if err := first.Get(t.Context(), nil); !errors.As(err, &canceled) || canceled.Details(&result) != nil || result.Complete || result.GoOn == "" {
		t.Errorf("canceled it ended with %v, %+v", err, result)
	}
	p.keep(first, "recover_canceled")
	described, err := p.client.DescribeWorkflowExecution(t.Context(), workflows.RecoverID, first.GetRunID())
	p.must(err)
	if events := described.GetWorkflowExecutionInfo().GetHistoryLength(); events > 300 {
		t.Errorf("it took %d events", events)
	}
	p.keep(other, "recover_refused")
	if !p.running() {
		t.Error("shards do not go on")
	}
	second := p.result(p.begin(workflows.RecoverInput{Rate: 1e6}))
	if !second.Complete || second.Backfill.Duplicates == 0 {
		t.Errorf("the second result is %+v", second)
	}
	p.complete()
}

// TestTerminatedRecoverReleasesShards: the lease of the pause runs out, and a new recovery finishes.
func TestTerminatedRecoverReleasesShards(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.send("before", 500, 0)
	p.indexed()
	p.snapshot()
	p.send("after", 500, 1)
	p.indexed()
	p.backUp()
	p.disaster()
	// A recovery that is terminated while the shards are paused for it.
	run := p.begin(workflows.RecoverInput{Lease: 10 * time.Second})
	p.await("the pause", func() bool { return !p.running() })
	p.must(p.client.TerminateWorkflow(t.Context(), workflows.RecoverID, run.GetRunID(), "a test"))
	p.send("later", 100, 0)
	p.await("the shards to go on when the lease ends", p.running)
	done := make(chan struct{})
	go func() { // the backup passes the new window's end
		defer close(done)
		for stage := ""; stage != workflows.StageAwait && stage != workflows.StageVerify; stage = p.progress().Stage {
			<-time.After(50 * time.Millisecond)
		}
	}()
	again := p.begin(workflows.RecoverInput{})
	<-done
	p.backUp()
	if result := p.result(again); !result.Complete {
		t.Errorf("the result is %+v", result)
	}
	p.indexed()
	p.complete()
}

// TestReplayOfTenant: only that tenant's records, and only into the copy. What
// came after its window says that the backup has all of it.
func TestReplayOfTenant(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	began := time.Now().Add(-time.Minute)
	p.send("r", 600, 1)
	p.indexed()
	p.backUp()
	to := p.turn()
	p.send("later", 100, 0)
	p.backUp()
	in := workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{
		From: began, To: to, Into: "question", Tenant: "tenant-a",
	}}
	run := p.replay("x", in)
	result := p.result(run)
	p.keep(run, "replay_tenant")
	if !result.Complete || result.Backfill.Indexed != 300 || len(result.Plan.Restore) > 0 {
		t.Errorf("the result is %+v", result)
	}
	ids := p.ids("-question")
	for id := range ids {
		if id[len(id)-1]%2 == 0 {
			t.Fatalf("%s is of another tenant", id)
		}
	}
	if len(ids) != 300 {
		t.Errorf("%d documents", len(ids))
	}
}

// turn returns a time that lies behind all that arrived, and before all that
// comes, in whole milliseconds, as streams know it.
func (p *pipeline) turn() time.Time {
	turn := time.Now().Truncate(time.Second).Add(2 * time.Second)
	p.await("the turn", func() bool { return time.Now().After(turn.Add(time.Second)) })
	return turn
}

// cut takes the second half of an object away.
func (p *pipeline) cut(object archive.Object) {
	p.t.Helper()
	body, err := p.Backups.Get(p.t.Context(), object.Key)
	p.must(err)
	meta, err := p.Backups.Meta(p.t.Context(), object.Key)
	p.must(err)
	p.must(p.Backups.Delete(p.t.Context(), object.Key))
	_, err = p.Backups.PutNew(p.t.Context(), object.Key, body[:len(body)/2], meta)
	p.must(err)
}

// TestReplayReportsMissingRecords is listed: what was deleted from the backup, or cut off in
// it, and what the backup has not come to.
func TestReplayReportsMissingRecords(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	began := time.Now().Add(-time.Minute)
	p.send("r", 3000, 1)
	p.indexed()
	p.backUp()
	all := p.objects()
	p.must(p.Backups.Delete(t.Context(), all[1].Key))
	p.cut(all[4])
	in := workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{From: began, To: time.Now().Add(time.Hour), Into: "copy"}}
	run := p.replay("x", in)
	result := p.result(run)
	behind, broken, cut := 0, 0, 0
	for _, gap := range result.Missing {
		switch {
		case gap.Object == all[2].Key && strings.Contains(gap.Reason, "not in the backup any more"):
			broken++
		case gap.Object == all[4].Key && strings.Contains(gap.Reason, "is damaged") && gap.Records > 0:
			cut++
		case gap.Shard != "" && strings.Contains(gap.Reason, "has not come to the window's end"):
			behind++
		default:
			t.Errorf("unexpected is %+v", gap)
		}
	}
	if result.Complete || broken != 1 || cut != 1 || result.Backfill.Missing == 0 || behind != len(p.chains) {
		t.Errorf("the result is %+v", result)
	}
	written := false
	for _, key := range p.papers() {
		written = written || strings.HasSuffix(key, "/backfill/missing/chains.ndjson")
	}
	if !written {
		t.Errorf("no paper says so: %v", p.papers())
	}
	if found := len(p.ids("-copy")); found < 2000 || found >= 3000 {
		t.Errorf("%d documents", found)
	}
}
