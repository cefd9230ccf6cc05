package main

import (
	"strings"
	"testing"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"

	"millrace/internal/control"
	"millrace/workflows"
)

// TestWorkflowPausedInTemporalIsShown: it answers no query, and yet its shard is shown
// as paused and by whom, and a command says at once why it is not obeyed.
func TestWorkflowPausedInTemporalIsShown(t *testing.T) {
	t.Parallel()
	p := started(t)
	id := workflows.ProcessShardID(streamName, p.stream.Created, listed[1].ID)
	_, err := p.client.WorkflowService().PauseWorkflowExecution(t.Context(), &workflowservice.PauseWorkflowExecutionRequest{
		Namespace: p.namespace, WorkflowId: id, Identity: "eve", Reason: "a look",
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.show("1"); got.State != control.StatePaused || len(got.Holds) != 1 || got.Holds[0].By != "eve" {
		t.Errorf("paused, it is %+v", got)
	}
	if lines := strings.Split(p.must("shards"), "\n"); !strings.HasPrefix(lines[2], "shardId-000000000001  paused") {
		t.Errorf("its line is %q", lines[2])
	}
	p.must("shard show 0", "state            running\n")
	for _, command := range []string{"pause", "resume"} {
		p.fails("shard "+command+" 1", id+" is paused by eve (in Temporal: a look)", "temporal workflow unpause --workflow-id "+id)
	}
	_, err = p.client.WorkflowService().UnpauseWorkflowExecution(t.Context(), &workflowservice.UnpauseWorkflowExecutionRequest{
		Namespace: p.namespace, WorkflowId: id, Identity: "eve",
	})
	if err != nil {
		t.Fatal(err)
	}
	p.must("shard pause 1", "shardId-000000000001: paused, by operator")
}

// TestPausedProcessStreamSaysWhy: every command about ProcessStream needs it.
func TestPausedProcessStreamSaysWhy(t *testing.T) {
	t.Parallel()
	p := started(t)
	id := workflows.ProcessStreamID(streamName)
	_, err := p.client.WorkflowService().PauseWorkflowExecution(t.Context(), &workflowservice.PauseWorkflowExecutionRequest{
		Namespace: p.namespace, WorkflowId: id, Identity: "eve",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"process status", "process stop --yes", "stream pause", "shards"} {
		p.fails(command, id+" is paused by eve (in Temporal)", "temporal workflow unpause --workflow-id "+id)
	}
}

// TestPauseOfAnActivityOutlivesThatOfItsShard: the shard ends its activity to pause, and
// with that the pause which the activity had. It becomes one of the shard.
func TestPauseOfAnActivityOutlivesThatOfItsShard(t *testing.T) {
	t.Parallel()
	p := started(t)
	id := workflows.ProcessShardID(streamName, p.stream.Created, listed[0].ID)
	_, err := p.client.WorkflowService().PauseActivity(t.Context(), &workflowservice.PauseActivityRequest{
		Namespace: p.namespace, Execution: &common.WorkflowExecution{WorkflowId: id}, Identity: "eve", Reason: "a look",
		Activity: &workflowservice.PauseActivityRequest_Type{Type: "IndexShard"},
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the pause to be shown", func() bool { return p.show("0").State == control.StatePaused })
	p.must("shard pause 0", "shardId-000000000000: paused, by ", "operator", "eve (from a pause in Temporal, activity ")
	p.must("shard resume 0", "shardId-000000000000: paused, by eve (from a pause in Temporal, activity ")
	p.must("shard resume 0 --by eve", "shardId-000000000000: running")
}
