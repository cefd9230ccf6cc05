package launch

import (
	"testing"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"millrace/workflows"
)

// recoverElsewhere is a drill whose recovery no worker takes up.
func recoverElsewhere(ctx workflow.Context) error {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID: workflows.RecoverID, TaskQueue: "unpolled", ParentClosePolicy: enums.PARENT_CLOSE_POLICY_TERMINATE,
	})
	return workflow.ExecuteChildWorkflow(ctx, workflows.Recover, workflows.RecoverInput{}).Get(ctx, nil)
}

// TestOnlyARecoveryOfTheIndicesIsOne: that of a drill deletes nothing.
func TestOnlyARecoveryOfTheIndicesIsOne(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	is := func(what string, want bool) {
		t.Helper()
		if got, err := s.Recovering(t.Context()); err != nil || got != want {
			t.Errorf("%s: it says %v, %v", what, got, err)
		}
	}
	start := func(id, queue string, workflow any, args ...any) {
		t.Helper()
		if _, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: queue}, workflow, args...); err != nil {
			t.Fatal(err)
		}
	}
	is("there was none", false)
	w := worker.New(s.Client, "drills", worker.Options{})
	w.RegisterWorkflow(recoverElsewhere)
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	start(workflows.DrillID, "drills", recoverElsewhere)
	await(t, "the drill's recovery", func() bool { return s.running(workflows.RecoverID) })
	is("a drill recovers", false)
	if err := s.TerminateWorkflow(t.Context(), workflows.DrillID, "", "the test goes on"); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of the drill's recovery", func() bool { return !s.running(workflows.RecoverID) })
	start(workflows.RecoverID, "unpolled", workflows.Recover, workflows.RecoverInput{})
	is("a recovery is open", true)
	if err := s.TerminateWorkflow(t.Context(), workflows.RecoverID, "", "the test goes on"); err != nil {
		t.Fatal(err)
	}
	is("it has ended", false)
}
