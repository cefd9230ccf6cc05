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

// gone is a world whose indices were deleted after so many records, all of them
// backed up.
func gone(t *testing.T, records int) *world {
	t.Helper()
	w := newWorld(t)
	w.send("r", records, 2)
	w.indexed()
	w.backUp()
	w.disaster()
	return w
}

// objects are those of the backup.
func (w *world) objects() (all []archive.Object) {
	w.t.Helper()
	for object, err := range w.Backups.List(w.t.Context(), backup.Prefix) {
		w.must(err)
		all = append(all, object)
	}
	return all
}

func (w *world) papers() (keys []string) {
	w.t.Helper()
	for key, err := range w.Bucket.Keys(w.t.Context(), "recovery/") {
		w.must(err)
		keys = append(keys, key)
	}
	return keys
}

// running reports whether all shards go on.
func (w *world) running() bool {
	shards, err := w.Stream.Shards(w.t.Context())
	w.must(err)
	for _, shard := range shards {
		state, err := w.launcher.Look(w.t.Context(), w.StreamID(), shard.ID)
		if err != nil || state != control.StateRunning {
			return false
		}
	}
	return true
}

func (w *world) update(name string, in any) (progress workflows.RecoverProgress) {
	w.t.Helper()
	update, err := w.client.UpdateWorkflow(w.t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: workflows.RecoverID, UpdateName: name, Args: []any{in}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	w.must(err)
	w.must(update.Get(w.t.Context(), &progress))
	return progress
}

func (w *world) progress() workflows.RecoverProgress {
	progress, err := w.launcher.RecoverProgress(w.t.Context(), workflows.RecoverID)
	if err != nil {
		return workflows.RecoverProgress{}
	}
	return progress
}

// TestWithoutASnapshot: a dry run changes nothing, the backup alone brings all
// back, but for what came home from the ledger, and what that has is not there
// twice.
func TestWithoutASnapshot(t *testing.T) {
	t.Parallel()
	w := gone(t, 1500)
	w.broughtHome("home")
	plan := w.result(w.begin(workflows.RecoverInput{DryRun: true})).Plan
	if plan.Objects == 0 || plan.Records < 1000 || plan.Snapshot != "" || len(plan.Warnings) == 0 {
		t.Errorf("the plan is %+v", plan)
	}
	if papers := w.papers(); len(papers) > 0 || !w.running() || len(w.states()) > 0 {
		t.Errorf("a dry run wrote %q, or stopped shards, or made indices", papers)
	}
	result := w.result(w.begin(workflows.RecoverInput{}))
	if !result.Complete || result.Backfill.Indexed != 1501 || result.Backfill.Dead != 2 || result.Verify.Indexed != 0 {
		t.Errorf("the result is %+v", result)
	}
	w.complete()
	report := ""
	for _, key := range w.papers() {
		if strings.Contains(key, "/backfill/report/") {
			text, err := w.Bucket.Get(t.Context(), key)
			w.must(err)
			report += string(text)
		}
	}
	if lines := strings.Count(report, "\n"); lines != len(w.objects())+1 || strings.Count(report, `"outcome":"succeeded"`) != lines {
		t.Errorf("the report has %d lines for %d objects: %s", lines, len(w.objects()), report)
	}
}

// TestDamagedObjectsAreListed: one is corrupt, one is empty, and their
// neighbours come back.
func TestDamagedObjectsAreListed(t *testing.T) {
	t.Parallel()
	w := gone(t, 3000)
	all := w.objects()
	corrupt, err := w.Bucket.Get(t.Context(), all[0].Key)
	w.must(err)
	w.must(w.Bucket.Put(t.Context(), all[0].Key, corrupt[:len(corrupt)/2]))
	w.must(w.Bucket.Put(t.Context(), all[1].Key, nil))
	run := w.begin(workflows.RecoverInput{BackupWait: time.Second})
	result := w.result(run)
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
	found := w.ids("")
	if len(found) < 2000 || len(found) >= 3000 {
		t.Errorf("%d documents are back", len(found))
	}
}

// TestWhatIsDeletedFromTheBackupIsMissing: one object is gone before the
// recovery lists them, another one before it is read. Neither is in the list of
// verify, and yet nothing is called complete.
func TestWhatIsDeletedFromTheBackupIsMissing(t *testing.T) {
	w := gone(t, 3000)
	all := w.objects()
	before, meanwhile, next := all[1].Key, all[len(all)-2].Key, all[2].Key
	w.must(w.Bucket.Delete(t.Context(), before))
	run := w.begin(workflows.RecoverInput{Rate: 300, Lanes: 1, CallFor: time.Second})
	w.await("the backfill", func() bool { return w.progress().RecordsDone > 0 })
	w.must(w.Bucket.Delete(t.Context(), meanwhile))
	w.must(w.client.SignalWorkflow(t.Context(), workflows.RecoverID, "", workflows.SetRate, workflows.RateInput{}))
	result := w.result(run)
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
	for _, key := range w.papers() {
		if strings.HasSuffix(key, "/verify/missing/chains.ndjson") || strings.Contains(key, "/backfill/missing/") {
			written++
		}
	}
	if written != 2 {
		t.Errorf("%d papers say so", written)
	}
}

// TestIntoASuffix: nothing that is there is touched, and no shard stands still.
func TestIntoASuffix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("before", 500, 0)
	w.indexed()
	w.snapshot()
	w.send("after", 500, 1)
	w.indexed()
	w.backUp()
	before := w.states()
	result := w.result(w.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Into: "drill"}}))
	if !result.Complete || len(result.Restored) != 2 {
		t.Errorf("the result is %+v", result)
	}
	copied := w.ids("-drill")
	for id := range w.sent {
		if copied[id] != 1 {
			t.Fatalf("%s is in the copy %d times", id, copied[id])
		}
	}
	after := w.states()
	for name, state := range before {
		if after[name].UUID != state.UUID {
			t.Errorf("%s was replaced", name)
		}
	}
	w.complete()
}

// TestTwoAtOnceAndOneThatIsCanceled: the second one is refused, also under
// another id; what is canceled leaves the shards going on, and the next one
// brings the rest.
func TestTwoAtOnceAndOneThatIsCanceled(t *testing.T) {
	t.Parallel()
	w := gone(t, 4000)
	first := w.begin(workflows.RecoverInput{Rate: 200, CallFor: time.Second})
	_, err := w.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: workflows.RecoverID, TaskQueue: workflows.RecoverQueue, WorkflowExecutionErrorWhenAlreadyStarted: true,
	}, workflows.Recover, workflows.RecoverInput{})
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if !errors.As(err, &already) || already.RunId != first.GetRunID() {
		t.Errorf("the second one: %v", err)
	}
	other, err := w.client.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "by-hand", TaskQueue: workflows.RecoverQueue},
		workflows.Recover, workflows.RecoverInput{})
	w.must(err)
	if err := other.Get(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "a recovery runs already") {
		t.Errorf("one under another id: %v", err)
	}
	w.await("the backfill", func() bool { p := w.progress(); return p.Stage == workflows.StageBackfill && p.RecordsDone > 300 })
	paused := w.update(workflows.Pause, control.Hold{Reason: "a test"})
	at := w.progress()
	if paused.State != control.StatePaused || at.RecordsDone >= 4000 {
		t.Errorf("paused it is %+v", at)
	}
	w.must(w.client.SignalWorkflow(t.Context(), workflows.RecoverID, "", workflows.SetRate, workflows.RateInput{Rate: 300}))
	w.must(w.client.SignalWorkflow(t.Context(), workflows.RecoverID, "", workflows.Resume, nil))
	w.await("it to go on", func() bool { p := w.progress(); return p.RecordsDone > at.RecordsDone && p.Limit == 300 })
	w.must(w.client.CancelWorkflow(t.Context(), workflows.RecoverID, ""))
	var canceled *temporal.CanceledError
	var result recovery.RecoverResult
	if err := first.Get(t.Context(), nil); !errors.As(err, &canceled) || canceled.Details(&result) != nil || result.Complete || result.GoOn == "" {
		t.Errorf("canceled it ended with %v, %+v", err, result)
	}
	w.keep(first, "recover_canceled")
	described, err := w.client.DescribeWorkflowExecution(t.Context(), workflows.RecoverID, first.GetRunID())
	w.must(err)
	if events := described.GetWorkflowExecutionInfo().GetHistoryLength(); events > 300 {
		t.Errorf("it took %d events", events)
	}
	w.keep(other, "recover_refused")
	if !w.running() {
		t.Error("shards do not go on")
	}
	second := w.result(w.begin(workflows.RecoverInput{Rate: 1e6}))
	if !second.Complete || second.Backfill.Duplicates == 0 {
		t.Errorf("the second result is %+v", second)
	}
	w.complete()
}

// TestTerminated: the lease of the pause runs out, and a new recovery finishes.
func TestTerminated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("before", 500, 0)
	w.indexed()
	w.snapshot()
	w.send("after", 500, 1)
	w.indexed()
	w.backUp()
	w.disaster()
	// A recovery that is terminated while the shards are paused for it.
	run := w.begin(workflows.RecoverInput{Lease: 10 * time.Second})
	w.await("the pause", func() bool { return !w.running() })
	w.must(w.client.TerminateWorkflow(t.Context(), workflows.RecoverID, run.GetRunID(), "a test"))
	w.send("later", 100, 0)
	w.await("the shards to go on when the lease ends", w.running)
	done := make(chan struct{})
	go func() { // the backup passes the new window's end
		defer close(done)
		for stage := ""; stage != workflows.StageAwait && stage != workflows.StageVerify; stage = w.progress().Stage {
			<-time.After(50 * time.Millisecond)
		}
	}()
	again := w.begin(workflows.RecoverInput{})
	<-done
	w.backUp()
	if result := w.result(again); !result.Complete {
		t.Errorf("the result is %+v", result)
	}
	w.indexed()
	w.complete()
}

// TestReplayOfATenant: only that tenant's records, and only into the copy. What
// came after its window says that the backup has all of it.
func TestReplayOfATenant(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := time.Now().Add(-time.Minute)
	w.send("r", 600, 1)
	w.indexed()
	w.backUp()
	to := w.turn()
	w.send("later", 100, 0)
	w.backUp()
	in := workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{
		From: began, To: to, Into: "question", Tenant: "tenant-a",
	}}
	run := w.replay("x", in)
	result := w.result(run)
	w.keep(run, "replay_tenant")
	if !result.Complete || result.Backfill.Indexed != 300 || len(result.Plan.Restore) > 0 {
		t.Errorf("the result is %+v", result)
	}
	ids := w.ids("-question")
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
func (w *world) turn() time.Time {
	turn := time.Now().Truncate(time.Second).Add(2 * time.Second)
	w.await("the turn", func() bool { return time.Now().After(turn.Add(time.Second)) })
	return turn
}

// cut takes the second half of an object away.
func (w *world) cut(object archive.Object) {
	w.t.Helper()
	body, err := w.Backups.Get(w.t.Context(), object.Key)
	w.must(err)
	meta, err := w.Backups.Meta(w.t.Context(), object.Key)
	w.must(err)
	w.must(w.Backups.Delete(w.t.Context(), object.Key))
	_, err = w.Backups.PutNew(w.t.Context(), object.Key, body[:len(body)/2], meta)
	w.must(err)
}

// TestWhatAReplayLacks is listed: what was deleted from the backup, or cut off in
// it, and what the backup has not come to.
func TestWhatAReplayLacks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := time.Now().Add(-time.Minute)
	w.send("r", 3000, 1)
	w.indexed()
	w.backUp()
	all := w.objects()
	w.must(w.Backups.Delete(t.Context(), all[1].Key))
	w.cut(all[4])
	in := workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{From: began, To: time.Now().Add(time.Hour), Into: "copy"}}
	run := w.replay("x", in)
	result := w.result(run)
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
	if result.Complete || broken != 1 || cut != 1 || result.Backfill.Missing == 0 || behind != len(w.chains) {
		t.Errorf("the result is %+v", result)
	}
	written := false
	for _, key := range w.papers() {
		written = written || strings.HasSuffix(key, "/backfill/missing/chains.ndjson")
	}
	if !written {
		t.Errorf("no paper says so: %v", w.papers())
	}
	if found := len(w.ids("-copy")); found < 2000 || found >= 3000 {
		t.Errorf("%d documents", found)
	}
}
