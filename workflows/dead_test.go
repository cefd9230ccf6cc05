package workflows_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/workflows"
	"millrace/workflows/launch"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"millrace/activities/deadletters"
	"millrace/deploy/local/localtest"
	"millrace/internal/control"
	"millrace/internal/ledger"
)

// madeUpDead is a KeepLetters and a ReprocessEntries that take one message, and
// one record, a call, which lasts until it is canceled, or three were taken.
type madeUpDead struct {
	mu    sync.Mutex
	kept  []deadletters.KeepCall
	calls []deadletters.ReprocessCall
}

func (m *madeUpDead) KeepLetters(ctx context.Context, in deadletters.KeepCall) (deadletters.KeepProgress, error) {
	m.mu.Lock()
	m.kept = append(m.kept, in)
	m.mu.Unlock()
	progress := deadletters.KeepProgress{
		Counts: in.Counts, Worker: "made up", Stay: 1,
		Unreadable: []deadletters.UnreadableLetter{{ID: "smoke", Error: "not a dead letter"}},
	}
	progress.Counts.Messages++
	for ctx.Err() == nil && !in.UntilEmpty {
		activity.RecordHeartbeat(ctx, progress)
		rest(ctx)
	}
	return progress, nil
}

func (m *madeUpDead) ReprocessEntries(ctx context.Context, in deadletters.ReprocessCall) (deadletters.ReprocessProgress, error) {
	m.mu.Lock()
	m.calls = append(m.calls, in)
	m.mu.Unlock()
	progress := in.Progress
	progress.Worker = "made up"
	progress.Counts.Records++
	progress.Counts.Indexed++
	progress.Cursor = strings.Repeat("k", int(progress.Counts.Records))
	progress.Done = progress.Counts.Records == 3
	progress.Errors = ledger.Groups{{Error: "odd", Records: 1, Example: "ledger/open/x"}}
	for ctx.Err() == nil && !progress.Done {
		activity.RecordHeartbeat(ctx, progress)
		rest(ctx)
	}
	return progress, nil
}

func rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}

func (m *madeUpDead) count() (kept, calls int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.kept), len(m.calls)
}

// deadServer has workers for the dead-letter queue on a real Temporal.
func deadServer(t *testing.T) (server, *madeUpDead) {
	t.Helper()
	c, m := localtest.TemporalClient(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...)), &madeUpDead{}
	w := worker.New(c, workflows.DeadQueue, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond})
	w.RegisterWorkflow(workflows.KeepDeadLetters)
	w.RegisterWorkflow(workflows.ReprocessDeadLetters)
	w.RegisterActivityWithOptions(m.KeepLetters, activity.RegisterOptions{Name: "KeepLetters"})
	w.RegisterActivityWithOptions(m.ReprocessEntries, activity.RegisterOptions{Name: "ReprocessEntries"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return server{c, launch.Launcher{Client: c}, t}, m
}

func (s server) begin(id string, workflow, in any) {
	s.t.Helper()
	if _, err := s.ExecuteWorkflow(s.t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.DeadQueue}, workflow, in); err != nil {
		s.t.Fatal(err)
	}
}

// update sends a workflow an update, and reads its answer.
func (s server) update(id, name string, answer any) {
	s.t.Helper()
	update, err := s.UpdateWorkflow(s.t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: name, WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{control.Hold{Reason: "a test"}},
	})
	if err == nil {
		err = update.Get(s.t.Context(), answer)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s server) awaitCanceled(id string) {
	s.t.Helper()
	await(s.t, "the end", func() bool {
		run, err := s.DescribeWorkflowExecution(s.t.Context(), id, "")
		return err == nil && run.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_CANCELED
	})
}

func TestKeepingPausesResumesAndStops(t *testing.T) {
	t.Parallel()
	s, m := deadServer(t)
	id := workflows.KeepDeadLettersID("q")
	s.begin(id, workflows.KeepDeadLetters, workflows.KeepInput{Queue: "q"})
	await(t, "the first call", func() bool { kept, _ := m.count(); return kept == 1 })
	var paused workflows.KeepStatus
	s.update(id, workflows.Pause, &paused)
	if paused.State != control.StatePaused || paused.Counts.Messages != 1 || paused.Stay != 1 || len(paused.Unreadable) != 1 || len(paused.Holds) != 1 {
		t.Fatalf("paused it is %+v", paused)
	}
	if err := s.SignalWorkflow(t.Context(), id, "", workflows.Resume, nil); err != nil { // does what an update does
		t.Fatal(err)
	}
	await(t, "the second call", func() bool { kept, _ := m.count(); return kept == 2 })
	if m.kept[1].Counts.Messages != 1 || len(m.kept[1].Unreadable) != 1 {
		t.Errorf("the second call began with %+v", m.kept[1])
	}
	if err := s.CancelWorkflow(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	s.awaitCanceled(id)
	s.keep("dead", id, "letters_paused")
}

func TestReprocessingPausesResumesAndEnds(t *testing.T) {
	t.Parallel()
	s, m := deadServer(t)
	id := workflows.ReprocessID("telemetry")
	s.begin(id, workflows.ReprocessDeadLetters, workflows.ReprocessInput{Stream: "telemetry", Queue: "q", Select: ledger.Selection{Error: "odd"}, By: "ada"})
	await(t, "the first call", func() bool { _, calls := m.count(); return calls == 1 })
	if kept, _ := m.count(); kept != 1 || !m.kept[0].UntilEmpty || m.kept[0].Queue != "q" {
		t.Errorf("the queue was looked into by %+v", m.kept)
	}
	first := m.calls[0]
	if first.Run == "" || first.Mode != deadletters.ModeIngest || first.Select.Stream != "telemetry" || first.Select.Error != "odd" || first.Settle != workflows.DefaultSettleFor {
		t.Errorf("the first call is %+v", first)
	}
	var paused workflows.ReprocessStatus
	s.update(id, workflows.Pause, &paused)
	if paused.State != control.StatePaused || paused.Done.Counts.Records != 1 || paused.By != "ada" || paused.Started.IsZero() {
		t.Errorf("paused it is %+v", paused)
	}
	s.update(id, workflows.Resume, nil)
	await(t, "the second call", func() bool { _, calls := m.count(); return calls == 2 })
	if err := s.SignalWorkflow(t.Context(), id, "", workflows.Pause, nil); err != nil {
		t.Fatal(err)
	}
	await(t, "the pause by signal", func() bool {
		var status workflows.ReprocessStatus
		answer, err := s.QueryWorkflow(t.Context(), id, "", workflows.StatusQuery)
		return err == nil && answer.Get(&status) == nil && status.State == control.StatePaused && status.Done.Counts.Records == 2
	})
	s.update(id, workflows.Resume, nil)
	var ended workflows.ReprocessStatus
	if err := s.GetWorkflow(t.Context(), id, "").Get(t.Context(), &ended); err != nil {
		t.Fatal(err)
	}
	if ended.State != workflows.StateDone || ended.Done.Counts.Records != 3 || m.calls[2].Progress.Cursor != "kk" || m.calls[2].Run != first.Run {
		t.Errorf("it ended with %+v, the last call was %+v", ended, m.calls[2])
	}
	s.keep("dead", id, "reprocess_done")

	s.begin(id, workflows.ReprocessDeadLetters, workflows.ReprocessInput{Stream: "telemetry", Mode: deadletters.ModeDirect})
	await(t, "the call of the second run", func() bool { _, calls := m.count(); return calls == 4 })
	if err := s.CancelWorkflow(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	s.awaitCanceled(id)
	if m.calls[3].Run == first.Run || m.calls[3].Progress.Cursor != "" {
		t.Errorf("the second run began with %+v", m.calls[3])
	}
	s.keep("dead", id, "reprocess_canceled")
}

func TestReprocessingRefusesWhatCannotBeMeant(t *testing.T) {
	t.Parallel()
	s, m := deadServer(t)
	for text, in := range map[string]workflows.ReprocessInput{
		"needs a stream":       {},
		`mode "sideways"`:      {Stream: "s", Mode: "sideways"},
		"that is no time":      {Stream: "s", Select: ledger.Selection{From: time.Unix(2, 0), To: time.Unix(1, 0)}},
		"not the key":          {Stream: "s", Select: ledger.Selection{Keys: []string{"elsewhere/x"}}},
		"a time is negative":   {Stream: "s", SettleFor: -1},
		"1001 keys: at most 1": {Stream: "s", Select: ledger.Selection{Keys: make([]string, ledger.MostKeys+1)}},
	} {
		s.begin("refused", workflows.ReprocessDeadLetters, in)
		err := s.GetWorkflow(t.Context(), "refused", "").Get(t.Context(), nil)
		var application *temporal.ApplicationError
		if err == nil || !strings.Contains(err.Error(), text) || !errors.As(err, &application) || application.Type() != workflows.InvalidInput {
			t.Errorf("%+v: %v", in, err)
		}
	}
	if kept, calls := m.count(); kept+calls > 0 {
		t.Errorf("%d and %d calls were made", kept, calls)
	}
}
