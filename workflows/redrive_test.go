package workflows_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"millrace/workflows"
	"millrace/workflows/launch"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/redrive"
	"millrace/deploy/local/localtest"
	"millrace/internal/control"
)

// madeUpQueue is a RedriveMessages that redrives one record a call, which
// lasts until it is canceled.
type madeUpQueue struct {
	mu    sync.Mutex
	calls int
}

func (m *madeUpQueue) RedriveMessages(ctx context.Context, in redrive.Call) (redrive.Progress, error) {
	m.mu.Lock()
	m.calls++
	m.mu.Unlock()
	progress := redrive.Progress{Counts: in.Counts, Worker: "made up"}
	progress.Counts.Records++
	for ctx.Err() == nil {
		activity.RecordHeartbeat(ctx, progress)
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return progress, nil
}

func (m *madeUpQueue) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

func TestRedrivePausesResumesAndStops(t *testing.T) {
	t.Parallel()
	c := localtest.TemporalClient(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...))
	queue := &madeUpQueue{}
	w := worker.New(c, workflows.RedriveQueue, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond})
	w.RegisterWorkflow(workflows.Redrive)
	w.RegisterActivityWithOptions(queue.RedriveMessages, activity.RegisterOptions{Name: "RedriveMessages"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	s := server{c, launch.Launcher{Client: c}, t}
	id := workflows.RedriveID("q")
	if _, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.RedriveQueue}, workflows.Redrive, workflows.RedriveInput{Queue: "q"}); err != nil {
		t.Fatal(err)
	}
	await(t, "the first call", func() bool { return queue.count() == 1 })
	update, err := c.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: workflows.Pause, WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{control.Hold{Reason: "a test"}},
	})
	var paused workflows.RedriveStatus
	if err == nil {
		err = update.Get(t.Context(), &paused)
	}
	if err != nil || paused.State != control.StatePaused || paused.Counts.Records != 1 || len(paused.Holds) != 1 {
		t.Fatalf("paused it is %+v: %v", paused, err)
	}
	// A signal does what an update does.
	if err := c.SignalWorkflow(t.Context(), id, "", workflows.Resume, nil); err != nil {
		t.Fatal(err)
	}
	await(t, "the second call", func() bool { return queue.count() == 2 })
	if err := c.CancelWorkflow(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	await(t, "the end", func() bool {
		run, err := c.DescribeWorkflowExecution(t.Context(), id, "")
		return err == nil && run.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	})
	var status workflows.RedriveStatus
	answer, err := c.QueryWorkflow(t.Context(), id, "", workflows.StatusQuery)
	if err == nil {
		err = answer.Get(&status)
	}
	if err != nil || status.Counts.Records != 2 || status.Worker != "made up" {
		t.Errorf("in the end it is %+v: %v", status, err)
	}
	s.keep("redrive", id, "paused")
}
