package workflows_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/workflows"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"millrace/activities/supervise"
	"millrace/deploy/local/localtest"
	"millrace/internal/control"
	"millrace/internal/stream"
)

// listed is a stream's list of shards that a test changes.
type listed struct {
	mu     sync.Mutex
	shards []stream.Shard
}

func (l *listed) Shards(context.Context) ([]stream.Shard, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.shards), nil
}

func (l *listed) set(shards ...stream.Shard) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shards = shards
}

// newStream runs a ProcessStream over shards that last until they are told.
func newStream(t *testing.T, shard *madeUpShard, shards *listed) (s server, id string) {
	t.Helper()
	supervisor := &supervise.Supervisor{Stream: testStream, Shards: shards}
	s = newServer(t, func(w worker.Registry) {
		shard.register(w)
		w.RegisterActivity(supervisor)
	})
	supervisor.Workflows, supervisor.Reconcile = s.Launcher, s.StartReconcile
	id = workflows.ProcessStreamID(testStream.Name)
	_, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.ProcessQueue},
		workflows.ProcessStream, workflows.StreamInput{Stream: testStream.Name})
	if err != nil {
		t.Fatal(err)
	}
	return s, id
}

// streamStatus is what ProcessStream answers; nothing while it does not.
func (s server) streamStatus(id string) (status workflows.StreamStatus) {
	answer, err := s.QueryWorkflow(s.t.Context(), id, "", workflows.StatusQuery)
	if err != nil || answer.Get(&status) != nil {
		return workflows.StreamStatus{}
	}
	return status
}

// states are the states of the shards, by id, that ProcessStream answers.
func (s server) states(id string) map[string]string {
	states := map[string]string{}
	for _, shard := range s.streamStatus(id).Shards {
		states[shard.ID] = shard.State
	}
	return states
}

func (s server) awaitStates(id string, want map[string]string) {
	s.t.Helper()
	await(s.t, "the shards", func() bool {
		got := s.states(id)
		for shard, state := range want {
			if got[shard] != state {
				return false
			}
		}
		return len(got) == len(want)
	})
}

func TestStreamStartsChildrenWhenTheirParentsAreDrained(t *testing.T) {
	t.Parallel()
	shards := &listed{}
	shards.set(stream.Shard{ID: "a"}, stream.Shard{ID: "b"}, stream.Shard{ID: "c", Parents: []string{"a", "b"}},
		stream.Shard{ID: "d", Parents: []string{"trimmed"}})
	shard := &madeUpShard{endless: true}
	s, id := newStream(t, shard, shards)
	s.awaitStates(id, map[string]string{"a": "running", "b": "running", "c": "blocked", "d": "running"})

	// Three records drain a shard, each time it is paused gives one: if a worker
	// has its call.
	drain := func(name string) {
		t.Helper()
		for calls := range 2 {
			await(t, "the next call", func() bool { return shard.countOf(name) > calls })
			for _, command := range []string{workflows.Pause, workflows.Resume} {
				if err := s.Command(t.Context(), testStream, name, control.Command{Name: command}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	drain("a")
	s.awaitStates(id, map[string]string{"a": "drained", "b": "running", "c": "blocked", "d": "running"})
	drain("b")
	s.awaitStates(id, map[string]string{"a": "drained", "b": "drained", "c": "running", "d": "running"})
	// Past their retention the parents are forgotten; one that is not drained is
	// looked after until it is.
	shards.set(stream.Shard{ID: "c", Parents: []string{"a", "b"}})
	s.awaitStates(id, map[string]string{"c": "running", "d": "running"})
	s.keep("process", id, "stream_resharded")
}

// TestStreamHasReconcileRun, though no collector starts it, and also again when
// it was terminated.
func TestStreamHasReconcileRun(t *testing.T) {
	t.Parallel()
	shards := &listed{}
	s, _ := newStream(t, &madeUpShard{endless: true}, shards)
	await(t, "Reconcile", func() bool { return s.running(workflows.ReconcileID) })
	if err := s.TerminateWorkflow(t.Context(), workflows.ReconcileID, "", "a test"); err != nil {
		t.Fatal(err)
	}
	shards.set(stream.Shard{ID: "a"}) // the next call need not wait for its minute
	await(t, "Reconcile again", func() bool { return s.running(workflows.ReconcileID) })
}

func TestStreamPausesResumesAndStopsAllShards(t *testing.T) {
	t.Parallel()
	shards := &listed{}
	shards.set(stream.Shard{ID: "a"}, stream.Shard{ID: "b"})
	s, id := newStream(t, &madeUpShard{endless: true}, shards)
	s.awaitStates(id, map[string]string{"a": "running", "b": "running"})
	tell := func(command string) {
		t.Helper()
		update, err := s.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
			WorkflowID: id, UpdateName: command, WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{control.Hold{By: "ops"}},
		})
		if err != nil || update.Get(t.Context(), nil) != nil {
			t.Fatalf("%s: %v", command, err)
		}
	}
	look := func(want string) {
		t.Helper()
		for _, shard := range []string{"a", "b"} {
			if got, err := s.Look(t.Context(), testStream, shard); got != want {
				t.Errorf("shard %s is %q, not %q: %v", shard, got, want, err)
			}
		}
	}
	tell(workflows.Pause)
	look(control.StatePaused)
	shards.set(stream.Shard{ID: "a"}, stream.Shard{ID: "b"}, stream.Shard{ID: "c"})
	s.awaitStates(id, map[string]string{"a": "paused", "b": "paused", "c": "paused"}) // one that came meanwhile, too
	tell(workflows.Resume)
	look(control.StateRunning)
	if err := s.CancelWorkflow(t.Context(), id, ""); err != nil {
		t.Fatal(err)
	}
	var canceled *temporal.CanceledError
	if err := s.GetWorkflow(t.Context(), id, "").Get(t.Context(), nil); !errors.As(err, &canceled) {
		t.Errorf("it ended with %v", err)
	}
	look(control.StateClosed)
	s.keep("process", id, "stream_stopped")
}

// TestALateCommandIsIgnored: who has let a stream go does not pause it by a
// command that was on its way for long; another owner still does.
func TestALateCommandIsIgnored(t *testing.T) {
	t.Parallel()
	shards := &listed{}
	shards.set(stream.Shard{ID: "a"})
	s, id := newStream(t, &madeUpShard{endless: true}, shards)
	s.awaitStates(id, map[string]string{"a": control.StateRunning})
	shard := workflows.ProcessShardID(testStream.Name, testStream.Created, "a")
	tell := func(name, by string, order uint64) {
		t.Helper()
		command := control.Command{Name: name, Hold: control.Hold{By: by, Order: order}}
		if running, err := s.CommandStream(t.Context(), testStream, command); err != nil || !running {
			t.Fatal(running, err)
		}
	}
	holders := func() (of []string) {
		t.Helper()
		said, err := s.reported(t.Context(), shard)
		if err != nil {
			t.Fatal(err)
		}
		for _, holds := range [][]control.Hold{s.streamStatus(id).Holds, said.Holds} {
			for _, hold := range holds {
				of = append(of, hold.By)
			}
		}
		return of
	}
	tell(workflows.Pause, workflows.RecoverHolder, 10)
	if got := holders(); !slices.Equal(got, []string{workflows.RecoverHolder, workflows.RecoverHolder}) {
		t.Fatalf("paused it is held by %v", got)
	}
	tell(workflows.Resume, workflows.RecoverHolder, 12)
	tell(workflows.Pause, workflows.RecoverHolder, 11)
	late := control.Command{Name: workflows.Pause, Hold: control.Hold{By: workflows.RecoverHolder, Order: 11}}
	if err := s.Command(t.Context(), testStream, "a", late); err != nil {
		t.Fatal(err)
	}
	if got := holders(); len(got) > 0 {
		t.Errorf("let go it is held by %v", got)
	}
	tell(workflows.Pause, workflows.Operator, 0)
	if got := holders(); !slices.Equal(got, []string{workflows.Operator, workflows.Operator}) {
		t.Errorf("paused by an operator it is held by %v", got)
	}
	if held := s.streamStatus(id).Holds; len(held) != 1 || held[0].Order == 0 {
		t.Errorf("an operator's pause has no order: %+v", held)
	}
}

func TestStreamStartsAgainAShardThatWasTerminated(t *testing.T) {
	t.Parallel()
	shards := &listed{}
	shards.set(stream.Shard{ID: "a"})
	shard := &madeUpShard{endless: true}
	s, id := newStream(t, shard, shards)
	s.awaitStates(id, map[string]string{"a": "running"})
	await(t, "the first call", func() bool { return shard.count() == 1 })
	for _, command := range []string{workflows.Pause, workflows.Resume} {
		if err := s.Command(t.Context(), testStream, "a", control.Command{Name: command}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the second call", func() bool { return shard.count() == 2 })
	if err := s.TerminateWorkflow(t.Context(), workflows.ProcessShardID(testStream.Name, testStream.Created, "a"), "", "a test"); err != nil {
		t.Fatal(err)
	}
	s.awaitStates(id, map[string]string{"a": "closed"}) // and not again and again
	await(t, "the run after it", func() bool { return s.running(workflows.ProcessShardID(testStream.Name, testStream.Created, "a")) })
	await(t, "its first call", func() bool { return shard.count() >= 3 })
	if got := shard.last().Checkpoint.Sequence; got != "1" {
		t.Errorf("it was started again at %q", got)
	}
}

// TestAShardWhoseHistoryIsGoneBeginsAnew, at the beginning of what the stream
// keeps: its reader says what that may have lost.
func TestAShardWhoseHistoryIsGoneBeginsAnew(t *testing.T) {
	t.Parallel()
	shard := &madeUpShard{endless: true}
	options := localtest.TemporalNamespace(t, workflows.SearchAttributes...)
	s := serverIn(t, options, 0, shard.register)
	start := supervise.ShardStart{Stream: testStream, Shard: "a"}
	id := workflows.ProcessShardID(testStream.Name, testStream.Created, "a")
	for n, want := range []string{"", "1", ""} { // at first, after a stop, and when that is forgotten
		if err := s.Start(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		await(t, "the call", func() bool { return shard.count() == n+1 })
		if got := shard.last().Checkpoint.Sequence; got != want {
			t.Errorf("start %d begins at %q", n, got)
		}
		if err := s.Command(t.Context(), testStream, "a", control.Command{Name: control.CommandCancel}); err != nil {
			t.Fatal(err)
		}
		if n != 1 {
			continue
		}
		_, err := s.WorkflowService().DeleteWorkflowExecution(t.Context(), &workflowservice.DeleteWorkflowExecutionRequest{
			Namespace: options.Namespace, WorkflowExecution: &common.WorkflowExecution{WorkflowId: id},
		})
		if err != nil {
			t.Fatal(err)
		}
		await(t, "the end of its history", func() bool {
			state, err := s.Look(t.Context(), testStream, "a")
			return err == nil && state == ""
		})
	}
}

// TestAStreamIsPausedForAWhile: then it continues, as its shards do.
func TestAStreamIsPausedForAWhile(t *testing.T) {
	t.Parallel()
	shards := &listed{}
	shards.set(stream.Shard{ID: "a"})
	s, id := newStream(t, &madeUpShard{endless: true}, shards)
	s.awaitStates(id, map[string]string{"a": "running"})
	update, err := s.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: id, UpdateName: workflows.Pause, WaitForStage: client.WorkflowUpdateStageCompleted,
		Args: []any{control.Hold{By: "ops", Until: time.Now().Add(15 * time.Second)}},
	})
	var paused workflows.StreamStatus
	if err != nil || update.Get(t.Context(), &paused) != nil || paused.State != control.StatePaused {
		t.Fatalf("paused it is %+v: %v", paused, err)
	}
	await(t, "the end of the pause", func() bool {
		status := s.streamStatus(id)
		return status.State == control.StateRunning && len(status.Holds) == 0
	})
	s.awaitStates(id, map[string]string{"a": "running"})
	s.keep("process", id, "stream_paused_for_a_while")
}

// TestAStreamThatContinuesAsNewLosesNoSignal, neither one that it is about to
// apply nor one that waits behind it.
func TestAStreamThatContinuesAsNewLosesNoSignal(t *testing.T) {
	t.Parallel()
	shards := &listed{}
	shards.set(stream.Shard{ID: "a"}, stream.Shard{ID: "b"})
	s, id := newStream(t, &madeUpShard{endless: true}, shards)
	s.awaitStates(id, map[string]string{"a": "running", "b": "running"})
	first := s.runOf(id)
	signal := func(name string, arg any) {
		t.Helper()
		if err := s.SignalWorkflow(t.Context(), id, first, name, arg); err != nil {
			t.Fatal(err)
		}
	}
	for range 7 { // Temporal suggests it from 4 MiB on
		signal("noise", make([]byte, 700<<10))
	}
	signal(workflows.Pause, control.Hold{By: "ops"})
	signal(workflows.Pause, control.Hold{By: "others"})
	await(t, "the next run", func() bool { return s.runOf(id) != first })
	s.awaitStates(id, map[string]string{"a": "paused", "b": "paused"})
	if got := s.streamStatus(id); got.State != control.StatePaused || len(got.Holds) != 2 {
		t.Errorf("the stream is %s, held by %+v", got.State, got.Holds)
	}
	for _, shard := range []string{"a", "b"} {
		if got, err := s.reported(t.Context(), workflows.ProcessShardID(testStream.Name, testStream.Created, shard)); err != nil || len(got.Holds) != 2 {
			t.Errorf("shard %s is held by %+v: %v", shard, got.Holds, err)
		}
	}
}

// runOf is the id of a workflow's present run.
func (s server) runOf(id string) string {
	s.t.Helper()
	described, err := s.DescribeWorkflowExecution(s.t.Context(), id, "")
	if err != nil {
		s.t.Fatal(err)
	}
	return described.GetWorkflowExecutionInfo().GetExecution().GetRunId()
}
