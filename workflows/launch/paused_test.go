package launch

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"millrace/deploy/local/localtest"
	"millrace/internal/control"
	"millrace/workflows"
)

// TestWorkflowPausedInTemporalIsOpen: it answers no query and obeys no command, and an
// error says who has paused it, at once; yet nothing takes it for closed.
func TestWorkflowPausedInTemporalIsOpen(t *testing.T) {
	t.Parallel()
	options := localtest.TemporalNamespace(t, workflows.SearchAttributes...)
	c := localtest.TemporalClient(t, options)
	s := server{c, Launcher{Client: c}, t}
	batch, shard := workflows.ProcessBatchID(testStream.Name, wholeRange), workflows.ProcessShardID(testStream.Name, testStream.Created, "shard")
	start := func(id string, workflow, in any) {
		t.Helper()
		if _, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: "unpolled"}, workflow, in); err != nil {
			t.Fatal(err)
		}
	}
	start(batch, workflows.ProcessBatch, workflows.BatchInput{Stream: testStream, Range: wholeRange})
	start(shard, workflows.ProcessShard, workflows.ShardInput{Stream: testStream, Shard: "shard"})
	if paused, err := s.Paused(t.Context(), testStream, []string{"shard", "another"}); err != nil || len(paused) > 0 {
		t.Errorf("before that, paused are %v, %v", paused, err)
	}
	for _, id := range []string{batch, shard} {
		_, err := s.WorkflowService().PauseWorkflowExecution(t.Context(), &workflowservice.PauseWorkflowExecutionRequest{
			Namespace: options.Namespace, WorkflowId: id, Identity: "eve", Reason: "a look",
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	await(t, "visibility to know of the pauses", func() bool {
		list, err := s.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Query: Open})
		return err == nil && len(list.GetExecutions()) == 2 &&
			list.GetExecutions()[0].GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_PAUSED &&
			list.GetExecutions()[1].GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_PAUSED
	})
	if open, err := s.OpenBatches(t.Context(), testStream, time.Now()); err != nil || !slices.Contains(open, wholeRange) {
		t.Errorf("open batches are %v, %v", open, err)
	}
	if runs, err := s.Runs(t.Context(), batch); err != nil || !runs {
		t.Errorf("the batch runs: %v, %v", runs, err)
	}
	if state, err := s.Look(t.Context(), testStream, "shard"); err != nil || state != control.StatePaused {
		t.Errorf("the shard is %s, %v", state, err)
	}
	if paused, err := s.Paused(t.Context(), testStream, []string{"shard", "another"}); err != nil || len(paused) != 1 || !strings.Contains(paused[0], shard) {
		t.Errorf("paused are %v, %v", paused, err)
	}
	var paused *PausedError
	for _, name := range []string{control.CommandPause, control.CommandResume, control.CommandCancel} {
		err := s.Command(t.Context(), testStream, "shard", control.Command{Name: name, Hold: control.Hold{By: "ada"}})
		if !errors.As(err, &paused) || paused.Pause.By != "eve" || !strings.Contains(err.Error(), "a look") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.ShardStatus(t.Context(), shard); !errors.As(err, &paused) {
		t.Errorf("asked for its status it says %v", err)
	}
}
