package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/workflows"
	"millrace/workflows/launch"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"millrace/activities/ingest"
	"millrace/deploy/local/localtest"
	"millrace/internal/control"
	"millrace/internal/intake"
	"millrace/internal/pack"
)

// sink is a made-up way into the stream, and a ledger. It takes what it is
// told to take.
type sink struct {
	mu      sync.Mutex
	taken   []string
	dead    map[string]string // record: code
	refuse  map[string]bool   // records that are not taken at present
	queue   map[string]bool   // records that go into the queue
	batches map[string]int    // attempts
	panics  int
}

func (s *sink) Place(_ context.Context, batch string, records [][]byte) (placed intake.Placed, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches[batch]++
	if s.panics > 0 {
		s.panics--
		panic("a made-up panic")
	}
	for n, r := range records {
		if s.refuse[string(r)] {
			placed.Left, err = append(placed.Left, n), errors.New("the stream is made to refuse")
			continue
		}
		if s.queue[string(r)] {
			placed.Queued = append(placed.Queued, n)
		}
		s.taken = append(s.taken, string(r))
	}
	return placed, err
}

func (s *sink) WriteIngest(_ context.Context, _ string, dead []intake.Refused) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range dead {
		s.dead[string(d.Data)] = d.Code
	}
	return nil
}

// attempts are those to put a batch: an activity of a run that was terminated may still try.
func (s *sink) attempts(batch string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.batches[batch]
}

func (s *sink) relent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = nil
}

func (s *sink) has(records ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range records {
		if !slices.Contains(s.taken, r) {
			return false
		}
	}
	return true
}

// newIngestServer runs the ingest workflows on a real Temporal, over a sink.
func newIngestServer(t *testing.T, s *sink) server {
	t.Helper()
	c := localtest.TemporalClient(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...))
	s.dead, s.batches = map[string]string{}, map[string]int{}
	launcher := launch.Launcher{Client: c}
	w := worker.New(c, workflows.IngestQueue, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond})
	w.RegisterWorkflow(workflows.IngestBatch)
	w.RegisterWorkflow(workflows.Reconcile)
	w.RegisterActivity(&ingest.Ingester{Intake: s, Batches: launcher, DeadLetters: s})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return server{c, launcher, t}
}

func (s server) startIngest(name string, records ...string) (id string) {
	s.t.Helper()
	id = workflows.IngestID(name)
	var data [][]byte
	for _, r := range records {
		data = append(data, []byte(r))
	}
	if err := s.StartIngest(s.t.Context(), id, pack.Pack(data)); err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s server) ingestStatus(id string) (status workflows.IngestStatus) {
	answer, err := s.QueryWorkflow(s.t.Context(), id, "", workflows.StatusQuery)
	if err == nil {
		err = answer.Get(&status)
	}
	if err != nil {
		status.LastError = err.Error()
	}
	return status
}

func TestIngestBatchPutsInOneTask(t *testing.T) {
	t.Parallel()
	to := &sink{}
	s := newIngestServer(t, to)
	id := s.startIngest("one", "a", "b")
	var got workflows.IngestStatus
	if err := s.GetWorkflow(t.Context(), id, "").Get(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	if want := (workflows.IngestStatus{State: control.StateDrained, Records: 2}); !reflect.DeepEqual(got, want) || !to.has("a", "b") {
		t.Errorf("it ended with %+v", got)
	}
	// Started, one workflow task with its marker, completed: nothing a batch
	// needs beside that.
	described, err := s.DescribeWorkflowExecution(t.Context(), id, "")
	if err != nil || described.GetWorkflowExecutionInfo().GetHistoryLength() > 6 {
		t.Errorf("its history has %d events: %v", described.GetWorkflowExecutionInfo().GetHistoryLength(), err)
	}
	s.keep("ingest", id, "put")
}

func TestIngestBatchGoesOnUntilAllIsTaken(t *testing.T) {
	t.Parallel()
	to := &sink{refuse: map[string]bool{"b": true, "d": true}, queue: map[string]bool{"a": true, "d": true}}
	s := newIngestServer(t, to)
	id := s.startIngest("refused", "a", "b", "c", "d")
	await(t, "the state waiting", func() bool {
		status := s.ingestStatus(id)
		return status.State == control.StateWaiting && status.Left == 2 && status.LastError != ""
	})
	await(t, "the search attributes", func() bool {
		found, err := s.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{
			Query: "MillraceStage = 'ingest' AND MillraceState = 'waiting'",
		})
		return err == nil && found.GetCount() == 1
	})
	to.relent()
	var got workflows.IngestStatus
	if err := s.GetWorkflow(t.Context(), id, "").Get(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	if got.State != control.StateDrained || got.Left != 0 || got.Records != 4 || !to.has("a", "b", "c", "d") {
		t.Errorf("it ended with %+v, taken are %v", got, to.taken)
	}
	if !slices.Equal(got.Queued, []int{0, 3}) {
		t.Errorf("queued are %v", got.Queued)
	}
	if len(to.taken) != 4 { // what the stream took is not put again
		t.Errorf("taken are %v", to.taken)
	}
	s.keep("ingest", id, "finished")
}

// TestIngestBatchSurvivesAPanic in the first attempt: how far it came is
// unknown, so all of the batch is put again.
func TestIngestBatchSurvivesAPanic(t *testing.T) {
	t.Parallel()
	to := &sink{panics: 1}
	s := newIngestServer(t, to)
	id := s.startIngest("panic", "a", "b")
	if err := s.GetWorkflow(t.Context(), id, "").Get(t.Context(), nil); err != nil || !to.has("a", "b") {
		t.Errorf("it ended with %v, taken are %v", err, to.taken)
	}
	s.keep("ingest", id, "panicked")
}

func TestIngestBatchThatIsCanceledGoesToTheLedgerFirst(t *testing.T) {
	t.Parallel()
	to := &sink{refuse: map[string]bool{"b": true}}
	s := newIngestServer(t, to)
	id := s.startIngest("canceled", "a", "b")
	await(t, "the state waiting", func() bool { return s.ingestStatus(id).State == control.StateWaiting })
	if err := s.CancelWorkflow(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	var canceled *temporal.CanceledError
	if err := s.GetWorkflow(t.Context(), id, "").Get(t.Context(), nil); !errors.As(err, &canceled) {
		t.Errorf("it ended with %v", err)
	}
	if !to.has("a") || len(to.dead) != 1 || to.dead["b"] == "" {
		t.Errorf("taken are %v, dead are %v", to.taken, to.dead)
	}
	s.keep("ingest", id, "canceled")
}

// TestReconcileReplaysWhatWasTerminated: the batch was answered 202.
func TestReconcileReplaysWhatWasTerminated(t *testing.T) {
	t.Parallel()
	to := &sink{refuse: map[string]bool{"b": true}}
	s := newIngestServer(t, to)
	completed := s.startIngest("completed", "x")
	terminated := s.startIngest("terminated", "a", "b")
	await(t, "the state waiting", func() bool { return s.ingestStatus(terminated).State == control.StateWaiting })
	if err := s.TerminateWorkflow(t.Context(), terminated, "", "a test"); err != nil {
		t.Fatal(err)
	}
	to.relent()
	if err := s.StartReconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.StartReconcile(t.Context()); err != nil { // it runs: that is success
		t.Fatal(err)
	}
	await(t, "the batch to be replayed", func() bool {
		run, err := s.DescribeWorkflowExecution(t.Context(), terminated, "")
		return err == nil && run.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	})
	if !to.has("a", "b") {
		t.Errorf("taken are %v", to.taken)
	}
	if n := to.attempts(completed); n != 1 {
		t.Errorf("a batch that had completed was put %d times", n)
	}
	s.keep("ingest", terminated, "replayed")
	s.keep("reconcile", workflows.ReconcileID, "replayed")
	// To look again changes nothing.
	ingester := ingest.Ingester{Batches: s.Launcher}
	replays := 0
	err := s.UnfinishedIngests(t.Context(), time.Time{}, func(id, run string) error {
		batch, err := ingester.Batches.IngestInput(t.Context(), id, run)
		if err != nil {
			return err
		}
		started, err := s.ReplayIngest(t.Context(), id, batch)
		if started || id != terminated {
			err = errors.Join(err, fmt.Errorf("%s was replayed again", id))
		}
		replays++
		return err
	})
	if err != nil || replays != 1 {
		t.Errorf("%d runs are found: %v", replays, err)
	}
}

// TestAnInputThatIsNoBatchFails, and stays where an operator sees it.
func TestAnInputThatIsNoBatchFails(t *testing.T) {
	t.Parallel()
	s := newIngestServer(t, &sink{})
	run, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "ingest/by-hand", TaskQueue: workflows.IngestQueue}, workflows.IngestBatch, []byte("nonsense"))
	if err != nil {
		t.Fatal(err)
	}
	var application *temporal.ApplicationError
	if err := run.Get(t.Context(), nil); !errors.As(err, &application) || application.Type() != ingest.DamagedBatch {
		t.Errorf("it ended with %v", err)
	}
}
