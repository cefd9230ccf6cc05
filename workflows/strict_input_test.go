package workflows_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"millrace/internal/control"
	"millrace/internal/stream"
	"millrace/workflows"
)

// byHand are the workflows that operators start, in the UI and with temporal.
var byHand = map[string]any{
	"Recover": workflows.Recover, "Replay": workflows.Replay, "DrillRecovery": workflows.DrillRecovery, "AuditBackup": workflows.AuditBackup,
	"SnapshotIndex": workflows.SnapshotIndex, "EnforceRetention": workflows.EnforceRetention,
	"ReprocessDeadLetters": workflows.ReprocessDeadLetters, "KeepDeadLetters": workflows.KeepDeadLetters,
	"Canary":  workflows.Canary,
	"Redrive": workflows.Redrive, "ProcessStream": workflows.ProcessStream, "BackupStream": workflows.BackupStream,
}

// No activity is registered: a workflow that went on would fail with another error, or wait.
func TestInputsWithUnknownMembersAreRefused(t *testing.T) {
	t.Parallel()
	for name, function := range byHand {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestWorkflowEnvironment()
			env.RegisterWorkflow(function)
			env.ExecuteWorkflow(name, json.RawMessage(`{"dryRum":true}`))
			var why *temporal.ApplicationError
			err := env.GetWorkflowError()
			if !errors.As(err, &why) || !why.NonRetryable() || why.Type() != workflows.InvalidInput || !strings.Contains(why.Message(), `unknown field "dryRum"`) {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// A newer version may have handed over a run with members that this one does not know.
func TestRunsThatGoOnAcceptUnknownMembers(t *testing.T) {
	t.Parallel()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetContinuedExecutionRunID("an earlier run")
	env.RegisterWorkflow(workflows.KeepDeadLetters)
	env.ExecuteWorkflow("KeepDeadLetters", json.RawMessage(`{"new":1}`))
	if err := env.GetWorkflowError(); err == nil || !strings.Contains(err.Error(), "needs a queue") {
		t.Errorf("it ends with %v", err)
	}
}

// On a real server, which runs validators as it does in production.
func TestCommandsWithUnknownMembersAreRefused(t *testing.T) {
	t.Parallel()
	shards := &listed{}
	shards.set(stream.Shard{ID: "a"})
	s, id := newStream(t, &madeUpShard{endless: true}, shards)
	s.awaitStates(id, map[string]string{"a": control.StateRunning})
	shard := workflows.ProcessShardID(testStream.Name, testStream.Created, "a")
	update, err := s.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: shard, UpdateName: workflows.Pause, WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{map[string]any{"reeson": "a look"}},
	})
	if err == nil {
		err = update.Get(t.Context(), nil)
	}
	if err == nil || !strings.Contains(err.Error(), `unknown field "reeson"`) {
		t.Errorf("the update is answered %v", err)
	}
	for _, in := range []map[string]any{{"by": "mallory", "ends": "2030-01-01T00:00:00Z"}, {"by": "eve"}} {
		if err := s.SignalWorkflow(t.Context(), shard, "", workflows.Pause, in); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the pause", func() bool {
		status, err := s.reported(t.Context(), shard)
		return err == nil && status.State == control.StatePaused
	})
	if status, err := s.reported(t.Context(), shard); err != nil || len(status.Holds) != 1 || status.Holds[0].By != "eve" {
		t.Errorf("it is paused by %+v, %v", status.Holds, err)
	}
}
