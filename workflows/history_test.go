package workflows

import (
	"os"
	"path/filepath"
	"testing"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// TestHistoriesReplay replays what every earlier version of the
// workflows has recorded (see -record in server_test.go). A history that fails
// here belongs to a workflow that would fail in production after the upgrade:
// keep the old path behind workflow.GetVersion, and the history.
func TestHistoriesReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/history/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no histories: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			replayer := worker.NewWorkflowReplayer()
			replayer.RegisterWorkflow(IngestBatch)
			replayer.RegisterWorkflow(Reconcile)
			replayer.RegisterWorkflow(Redrive)
			replayer.RegisterWorkflow(ProcessStream)
			replayer.RegisterWorkflow(ProcessShard)
			replayer.RegisterWorkflow(ProcessBatch)
			replayer.RegisterWorkflow(BackupStream)
			replayer.RegisterWorkflow(BackupShard)
			replayer.RegisterWorkflow(KeepDeadLetters)
			replayer.RegisterWorkflow(ReprocessDeadLetters)
			replayer.RegisterWorkflow(DrainIndex)
			replayer.RegisterWorkflow(Recover)
			replayer.RegisterWorkflow(Replay)
			replayer.RegisterWorkflow(DrillRecovery)
			replayer.RegisterWorkflow(AuditBackup)
			replayer.RegisterWorkflow(SnapshotIndex)
			replayer.RegisterWorkflow(EnforceRetention)
			replayer.RegisterWorkflow(Canary)
			text, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer text.Close()
			history, err := client.HistoryFromJSON(text, client.HistoryJSONOptions{})
			if err != nil {
				t.Fatal(err)
			}
			// Under the id that it had: Recover looks at its own.
			id := history.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowId()
			options := worker.ReplayWorkflowHistoryOptions{OriginalExecution: workflow.Execution{ID: id}}
			if err := replayer.ReplayWorkflowHistoryWithOptions(nil, history, options); err != nil {
				t.Fatal(err)
			}
		})
	}
}
