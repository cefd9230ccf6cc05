package workflows_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"millrace/activities/audit"
	"millrace/workflows"
)

// auditing runs an audit whose calls of AuditObjects end as they are given.
func auditing(in any, ends ...audit.Progress) (*testsuite.TestWorkflowEnvironment, *[]audit.Call) {
	var calls []audit.Call
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: workflows.AuditID})
	env.RegisterActivityWithOptions(func(_ context.Context, call audit.Call) (audit.Progress, error) {
		calls = append(calls, call)
		return ends[len(calls)-1], nil
	}, activity.RegisterOptions{Name: string(audit.AuditObjects)})
	env.ExecuteWorkflow(workflows.AuditBackup, in)
	return env, &calls
}

// TestAuditGoesOnWhereItsLastCallEnded: each call has what is left of the limits, and one
// that was completed by hand is made again.
func TestAuditGoesOnWhereItsLastCallEnded(t *testing.T) {
	t.Parallel()
	first := audit.Progress{Counts: audit.Counts{Objects: 3, Bytes: 40, Checked: 50, Indexed: 50, Unknown: 1}, After: 77, Worker: "w"}
	last := audit.Progress{Counts: audit.Counts{Objects: 1, Bytes: 2, Checked: 6, Indexed: 5, Dead: 1}, After: 99, Left: 8, Done: true, Worker: "w"}
	env, calls := auditing(workflows.AuditInput{Request: audit.Request{Objects: 10, Bytes: 100, Records: 1000}}, first, audit.Progress{}, last)
	var got workflows.AuditStatus
	if err := env.GetWorkflowResult(&got); err != nil {
		t.Fatal(err)
	}
	want := audit.Counts{Objects: 4, Bytes: 42, Checked: 56, Indexed: 55, Dead: 1, Unknown: 1}
	if got.Counts != want || got.Left != 8 || got.State != workflows.StateDone || got.Finished.IsZero() {
		t.Errorf("the audit is %+v", got)
	}
	if len(*calls) != 3 {
		t.Fatalf("there are %d calls", len(*calls))
	}
	for _, call := range (*calls)[1:] {
		if r := call.Request; call.After != 77 || r.Objects != 7 || r.Bytes != 60 || r.Records != 950 || call.Run == "" || !call.Start.Equal((*calls)[0].Start) {
			t.Errorf("it goes on with %+v", call)
		}
	}
}

func TestAuditFailsIfRecordsAreMissing(t *testing.T) {
	t.Parallel()
	some := make([]audit.Missing, audit.MostExamples)
	some[0] = audit.Missing{ID: "doc", Index: "telemetry-log-2026.11.23", Shard: "shardId-1", Sequence: "49", Object: "backup/x", Note: "odd"}
	one := audit.Progress{Counts: audit.Counts{Objects: 1, Checked: 20, Missing: 10}, Examples: some, Worker: "w"}
	done := one
	done.Done = true
	env, calls := auditing(workflows.AuditInput{}, one, done)
	var failed *temporal.ApplicationError
	var status workflows.AuditStatus
	if err := env.GetWorkflowError(); !errors.As(err, &failed) || failed.Type() != workflows.RecordsMissing || failed.Details(&status) != nil ||
		!strings.Contains(err.Error(), "20 of 40 records") || !strings.Contains(err.Error(), "document doc of telemetry-log-2026.11.23, which is 49 of shardId-1 in backup/x (odd)") {
		t.Errorf("it ends with %v", err)
	}
	if status.Missing != 20 || len(status.Examples) != audit.MostExamples || (*calls)[1].Found != 10 {
		t.Errorf("its status is %+v, and its second call %+v", status, (*calls)[1])
	}
	if text := status.Markdown(); !strings.Contains(text, "| Missing | 20 |") || !strings.Contains(text, "document doc of") {
		t.Errorf("operators read %s", text)
	}
}

func TestAuditRefusesBadInput(t *testing.T) {
	t.Parallel()
	env, calls := auditing(workflows.AuditInput{Request: audit.Request{Share: 2}})
	var failed *temporal.ApplicationError
	if err := env.GetWorkflowError(); !errors.As(err, &failed) || failed.Type() != workflows.InvalidInput || !failed.NonRetryable() || len(*calls) > 0 {
		t.Errorf("it ends with %v after %d calls", err, len(*calls))
	}
}
