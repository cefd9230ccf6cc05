package recovery

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/audit"
	"millrace/internal/backup"
	"millrace/internal/control"
	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/snapshot"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// beginAudit starts an audit under an id, with a grace that a test can wait for.
func (p *pipeline) beginAudit(id string, in workflows.AuditInput) client.WorkflowRun {
	p.t.Helper()
	if in.Grace == 0 {
		in.Grace = model.Duration(time.Second)
	}
	run, err := p.client.ExecuteWorkflow(p.t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.RecoverQueue}, workflows.AuditBackup, in)
	p.must(err)
	return run
}

// audit audits, and returns what it found, also where that is a failure.
func (p *pipeline) audit(in workflows.AuditInput) (run client.WorkflowRun, status workflows.AuditStatus) {
	p.t.Helper()
	run = p.beginAudit(workflows.AuditID, in)
	err := run.Get(p.t.Context(), &status)
	var failed *temporal.ApplicationError
	if errors.As(err, &failed) && failed.Type() == workflows.RecordsMissing {
		err = failed.Details(&status)
	}
	p.must(err)
	return run, status
}

var everything = workflows.AuditInput{Request: audit.Request{All: true}}

// TestAuditFindsEveryRecord: the residual of a pipeline that works is zero. The mark alone
// says when it is through, so that one which moves too early shows.
func TestAuditFindsEveryRecord(t *testing.T) {
	t.Parallel()
	p, began := newPipeline(t), time.Now()
	p.send("a", 2998, 5)
	p.sendAgainLater()
	p.passed()
	p.backUp()
	run, got := p.audit(everything)
	want := audit.Counts{Objects: int64(len(p.objects())), Bytes: got.Bytes, Checked: 3005, Indexed: 3000, Dead: 5}
	if got.Counts != want || got.Left > 0 || got.State != workflows.StateDone || len(got.Examples) > 0 {
		t.Errorf("the residual is %d; of 3005 records it found %+v", got.Missing, got)
	}
	p.keep(run, "audit_complete")
	if t.Failed() {
		return
	}
	p.auditParts(began)

	scheduled := p.beginAudit(workflows.AuditID+"-2026-11-24T09:00:00Z", everything)
	var status workflows.AuditStatus
	if err := scheduled.Get(t.Context(), &status); err != nil || status.Counts != want {
		t.Errorf("a scheduled audit found %+v, %v", status, err)
	}
	p.keep(scheduled, "audit_scheduled")
	if live, err := p.launcher.AuditStatus(t.Context()); err != nil || live.Checked != want.Checked || live.Finished.IsZero() {
		t.Errorf("the query answers %+v, %v", live, err)
	}
}

// sendAgainLater sends a record twice. The second time its index is another one, as when
// days have passed, and its only document is in that of the first time.
func (p *pipeline) sendAgainLater() {
	p.t.Helper()
	now := time.Now().UTC()
	own, later := p.indices+days["a"], p.indices+days["b"]
	for _, head := range []telemetry.Head{{Index: own}, {Index: later, Own: own, Earlier: own}} {
		head.ReceivedAt, head.Tenant, head.Region, head.ID, head.Type, head.Timestamp = now, "tenant-a", "r", "again", "log", now
		if rejected := p.Stream.Put(p.t.Context(), [][]byte{telemetry.AppendRecord(nil, head, []byte(`{"duration":12}`))}); len(rejected) > 0 {
			p.t.Fatalf("the stream refused %+v", rejected)
		}
	}
}

// auditParts: a sample has an object of each shard, and each limit bounds a run.
func (p *pipeline) auditParts(began time.Time) {
	p.t.Helper()
	objects := int64(len(p.objects()))
	_, got := p.audit(workflows.AuditInput{Request: audit.Request{Share: 1e-9}})
	if got.Objects != 2 || got.Left > 0 { // it has two shards
		p.t.Errorf("the least sample has %d objects, and leaves out %d", got.Objects, got.Left)
	}
	for name, limited := range map[string]audit.Request{"objects": {Objects: 1}, "bytes": {Bytes: 1}, "records": {Records: 1}} {
		limited.All = true
		if _, got := p.audit(workflows.AuditInput{Request: limited}); got.Objects != 1 || got.Left != objects-1 || got.Checked == 0 {
			p.t.Errorf("with a limit of one to its %s, it checked %d records of %d objects, and left out %d", name, got.Checked, got.Objects, got.Left)
		}
	}
	young := audit.Request{All: true, Grace: model.Duration(time.Since(began) + time.Second)}
	if _, got := p.audit(workflows.AuditInput{Request: young}); got.Checked > 0 {
		p.t.Errorf("%d records of %d objects were checked before their grace was over", got.Checked, got.Objects)
	}
}

// take deletes the document of the n-th good record past the pipeline, and returns where
// the record is in the stream.
func (p *pipeline) take(records []stream.Record, shard string, n int) (telemetry.Range, telemetry.Record, []byte) {
	p.t.Helper()
	record, err := telemetry.Parse(records[n].Data)
	p.must(err)
	var answer struct{ Result string }
	p.ask(http.MethodDelete, "/"+string(record.Index)+"/_doc/"+string(record.DocIDText), "", &answer)
	if answer.Result != "deleted" {
		p.t.Fatalf("Elasticsearch has %s the document of record %d", answer.Result, n)
	}
	at := records[n].Sequence
	return telemetry.Range{StreamARN: p.Stream.ARN(), StreamCreated: p.Stream.Created(), Shard: shard, First: at, Last: at, Count: 1}, record, records[n].Data
}

// TestAuditNamesWhatIsNowhere: of records without a document, those that the ledger or an
// open batch has are accounted for, and so are those that are not processed yet.
func TestAuditNamesWhatIsNowhere(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.send("a", 1000, 0)
	p.indexed()
	p.passed()
	shards, err := p.Stream.Shards(t.Context())
	p.must(err)
	shard := shards[0].ID
	records := p.storedIn(shard)
	entry := ledger.Entry{Kind: ledger.Bulk, Source: "a test", At: time.Now().UTC()}
	add := func(n int, e ledger.Entry) (key string) {
		at, _, data := p.take(records, shard, n)
		if e.Range = at; e.Kind != ledger.Loss {
			e.Records = []ledger.Record{ledger.NewRecord(data, outcome.Error{Type: "a_test"})}
			e.Records[0].Sequence = at.First
		}
		key, err := p.Ledger.Add(t.Context(), e)
		p.must(err)
		return key
	}
	add(0, entry)
	p.must(p.Ledger.Resolve(t.Context(), add(1, entry), ledger.Resolution{How: "discarded", At: time.Now().UTC()}))
	add(2, ledger.Entry{Kind: ledger.Loss, Source: "a test", At: time.Now().UTC(), Cause: &outcome.Error{Type: "a_test"}})
	held, _, _ := p.take(records, shard, 3)
	p.openElsewhere(workflows.ProcessBatchID(p.Stream.Name(), held), workflows.ProcessBatch, workflows.BatchInput{Stream: p.StreamID(), Range: held})
	p.command(workflows.Pause)
	p.send("later", 100, 0)
	p.backUp()
	if _, got := p.audit(everything); got.Missing > 0 || got.Checked != 1000 || got.Dead != 3 || got.Held != 1 {
		t.Errorf("the residual is %d; it found %+v", got.Missing, got)
	}

	lost, gone, _ := p.take(records, shard, 4)
	p.must(p.Ledger.Resolve(t.Context(), add(5, entry), ledger.Resolution{How: ledger.HowIndexed, At: time.Now().UTC()})) // which is not true
	run, got := p.audit(everything)
	if got.Missing != 2 || got.Checked != 1000 || len(got.Examples) != 2 || got.State != "failed" {
		t.Fatalf("the residual is %d; it found %+v", got.Missing, got)
	}
	p.keep(run, "audit_missing")
	of := got.Examples[0]
	if of.Sequence != lost.First {
		of = got.Examples[1]
	}
	if of.ID != string(gone.DocIDText) || of.Index != string(gone.Index) || of.Shard != shard || of.Sequence != lost.First || !p.has(of) {
		t.Errorf("it names %+v", of)
	}
	p.auditExcused()
}

// has reports whether a backup object has a missing record.
func (p *pipeline) has(of audit.Missing) bool {
	p.t.Helper()
	object, err := backup.OpenObject(p.t.Context(), p.Backups, of.Object)
	p.must(err)
	defer object.Close()
	for {
		line, err := object.Next()
		if err != nil {
			return false
		}
		if line.Sequence == of.Sequence {
			return true
		}
	}
}

// auditExcused: nothing is missing while a recovery is open, nor of an index that retention
// has deleted.
func (p *pipeline) auditExcused() {
	p.t.Helper()
	recovery := p.openElsewhere(workflows.RecoverID, workflows.Recover, workflows.RecoverInput{})
	run, got := p.audit(everything)
	if got.Skipped == "" || got.Objects > 0 || got.Missing > 0 {
		p.t.Errorf("beside a recovery it found %+v", got)
	}
	p.keep(run, "audit_skipped")
	p.must(p.client.TerminateWorkflow(p.t.Context(), recovery.GetID(), recovery.GetRunID(), "the test goes on"))
	for index := range p.states() {
		p.must(snapshot.Retire(p.t.Context(), p.Bucket, snapshot.Retired{Index: index, At: time.Now()}))
	}
	if _, got := p.audit(everything); got.Missing > 0 || got.Deleted != 6 {
		p.t.Errorf("behind retention it found %+v", got)
	}
}

// openElsewhere starts a workflow that no worker takes up.
func (p *pipeline) openElsewhere(id string, workflow, in any) client.WorkflowRun {
	p.t.Helper()
	run, err := p.client.ExecuteWorkflow(p.t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: "elsewhere"}, workflow, in)
	p.must(err)
	return run
}

// TestAuditIsPausedAndCanceledInTemporal: at its least rate it does not end before that.
func TestAuditIsPausedAndCanceledInTemporal(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.send("a", 3000, 0)
	p.indexed()
	p.passed()
	p.backUp()
	run := p.beginAudit(workflows.AuditID, workflows.AuditInput{Request: audit.Request{All: true, Rate: 10}})
	status := func() workflows.AuditStatus {
		got, err := p.launcher.AuditStatus(t.Context())
		if err != nil {
			return workflows.AuditStatus{}
		}
		return got
	}
	p.await("its first records", func() bool { return status().Checked > 0 })
	_, err := p.client.WorkflowService().PauseActivity(t.Context(), &workflowservice.PauseActivityRequest{
		Namespace: p.namespace, Execution: &common.WorkflowExecution{WorkflowId: workflows.AuditID}, Identity: "eve", Reason: "a look",
		Activity: &workflowservice.PauseActivityRequest_Type{Type: string(audit.AuditObjects)},
	})
	p.must(err)
	p.await("its call to yield", func() bool {
		described, err := p.client.DescribeWorkflowExecution(t.Context(), workflows.AuditID, "")
		return err == nil && len(described.GetPendingActivities()) == 1 && described.GetPendingActivities()[0].GetLastFailure().GetApplicationFailureInfo().GetType() == longcall.YieldType
	})
	if got := status(); got.State != control.StatePaused || len(got.Holds) != 1 || got.Holds[0].By != "eve" {
		t.Errorf("paused, it is %+v", got)
	}
	p.must(p.client.CancelWorkflow(t.Context(), workflows.AuditID, ""))
	var canceled *temporal.CanceledError
	if err := run.Get(t.Context(), nil); !errors.As(err, &canceled) {
		t.Errorf("canceled, it ends with %v", err)
	}
	p.keep(run, "audit_canceled")
}
