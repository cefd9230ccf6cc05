package workflows_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/workflows"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/process"
	"millrace/internal/indexing"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// slow is an IndexRange whose first attempt at 10 records goes on until it is
// told to end, or interrupted: by then all but 3 and 7 are indexed.
type slow struct {
	stubborn
	mu      sync.Mutex
	release chan struct{}
	tries   int
}

func (s *slow) IndexRange(ctx context.Context, in process.RangeInput) (result process.RangeResult, err error) {
	s.mu.Lock()
	s.tries++
	s.mu.Unlock()
	if in.Range != wholeRange { // the second attempt goes well
		return process.RangeResult{Counts: indexing.Counts{Records: 1, Indexed: 1}}, nil
	}
	result.Counts = indexing.Counts{Records: 8, Indexed: 8}
	for {
		select {
		case <-s.release:
			result.Left = []process.LeftRange{{Range: numbered(3, 3), Cause: badCause}, {Range: numbered(7, 7), Cause: badCause}}
			return result, nil
		case <-ctx.Done():
			result.Left = []process.LeftRange{{Range: numbered(3, 3)}, {Range: numbered(7, 7)}}
			result.Untold = true
			return result, nil
		case <-time.After(20 * time.Millisecond):
			activity.RecordHeartbeat(ctx)
		}
	}
}

func (s *slow) tried() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

func (s *slow) register(w worker.Registry) {
	w.RegisterActivityWithOptions(s.IndexRange, activity.RegisterOptions{Name: "IndexRange"})
	w.RegisterActivityWithOptions(s.BuryRange, activity.RegisterOptions{Name: "BuryRange"})
}

// TestACommandReachesABranchThatIsBeingTried: what the attempt will leave is
// retried at once, or in the ledger, and to give up interrupts the attempt.
func TestACommandReachesABranchThatIsBeingTried(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ask       func(s server) error
		asked     string // as it is drawn
		released  bool   // the attempt ends without a command
		buried    string // error type of what is left; empty: indexed
		interrupt bool
	}{
		"skipped": {
			ask: func(s server) error { return s.order(workflows.Skip) }, buried: outcome.TypeSkipped,
		},
		"skipped_by_signal": {
			ask: func(s server) error {
				return s.SignalWorkflow(s.t.Context(), "batch", "", workflows.Skip, workflows.Branch{First: "1", Last: "10"})
			}, buried: outcome.TypeSkipped,
		},
		"retried": {
			ask: func(s server) error { return s.order(workflows.Retry) }, asked: "running, then retry", released: true,
		},
		"canceled": {
			ask: func(s server) error { return s.CancelWorkflow(s.t.Context(), "batch", "") }, buried: outcome.TypeCanceled,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made := &slow{release: make(chan struct{})}
			s := newServer(t, made.register)
			run, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "batch", TaskQueue: workflows.ProcessQueue},
				workflows.ProcessBatch, workflows.BatchInput{Stream: testStream, Range: wholeRange, Cause: badCause})
			if err != nil {
				t.Fatal(err)
			}
			await(t, "the attempt", func() bool { return made.tried() == 1 })
			if err := c.ask(s); err != nil {
				t.Fatal(err)
			}
			if c.released {
				await(t, "the command in the tree", func() bool {
					lines := s.batch("batch").Lines()
					return len(lines) == 1 && strings.Contains(lines[0], c.asked)
				})
				close(made.release)
			}
			var got workflows.BatchStatus
			err = run.Get(t.Context(), &got)
			var canceled *temporal.CanceledError
			if errors.As(err, &canceled) {
				err = canceled.Details(&got)
			}
			if err != nil || (canceled != nil) != (c.buried == outcome.TypeCanceled) {
				t.Fatalf("it ended with %v", err)
			}
			want := indexing.Counts{Records: 10, Indexed: 10}
			if c.buried != "" {
				want = indexing.Counts{Records: 10, Indexed: 8, DeadLetters: 2}
			}
			if got.Counts != want || len(made.buried) != int(want.DeadLetters) {
				t.Errorf("it ended with %+v, buried are %+v", got.Counts, made.buried)
			}
			for n, in := range made.buried {
				at := []telemetry.Range{numbered(3, 3), numbered(7, 7)}[n]
				if in.Range != at || !in.Untold || in.Cause.Type != c.buried || !strings.Contains(in.Cause.Reason, badCause.Reason) {
					t.Errorf("buried was %+v", in)
				}
			}
			if s.happened("batch", enums.EVENT_TYPE_TIMER_FIRED) {
				t.Error("it waited before it did what it was told")
			}
			s.keep("process", "batch", "batch_"+name+"_in_an_attempt")
		})
	}
}

// order sends a ProcessBatch a command for all that is left of it.
func (s server) order(command string) error {
	update, err := s.UpdateWorkflow(s.t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: "batch", UpdateName: command, WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{workflows.Branch{}},
	})
	if err != nil {
		return err
	}
	return update.Get(s.t.Context(), nil)
}

// batch asks a ProcessBatch for its status.
func (s server) batch(id string) (status workflows.BatchStatus) {
	s.t.Helper()
	answer, err := s.QueryWorkflow(s.t.Context(), id, "", workflows.StatusQuery)
	if err == nil {
		err = answer.Get(&status)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}

// happened reports whether there is such an event in a history.
func (s server) happened(id string, what enums.EventType) bool {
	s.t.Helper()
	for events := s.GetWorkflowHistory(s.t.Context(), id, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		if err != nil {
			s.t.Fatal(err)
		}
		if event.GetEventType() == what {
			return true
		}
	}
	return false
}

// TestASkipInterruptsAnAttemptThatTellsNothing, since its worker died, or none
// has taken it: then all of it goes to the ledger.
func TestASkipInterruptsAnAttemptThatTellsNothing(t *testing.T) {
	t.Parallel()
	made := &stubborn{}
	s := newServer(t, func(w worker.Registry) {
		w.RegisterActivityWithOptions(func(ctx context.Context) error {
			for ctx.Err() == nil {
				activity.RecordHeartbeat(ctx)
				select {
				case <-ctx.Done():
				case <-time.After(20 * time.Millisecond):
				}
			}
			return ctx.Err()
		}, activity.RegisterOptions{Name: "IndexRange"})
		w.RegisterActivityWithOptions(made.BuryRange, activity.RegisterOptions{Name: "BuryRange"})
	})
	run, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "batch", TaskQueue: workflows.ProcessQueue},
		workflows.ProcessBatch, workflows.BatchInput{Stream: testStream, Range: wholeRange, Cause: badCause})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the attempt", func() bool { return s.batch("batch").Tree.State == workflows.NodeRunning })
	if err := s.order(workflows.Skip); err != nil {
		t.Fatal(err)
	}
	if err := run.Get(t.Context(), nil); err != nil || len(made.buried) != 1 || made.buried[0].Range != wholeRange {
		t.Errorf("it ended with %v, buried are %+v", err, made.buried)
	}
}

// nextRun runs a ProcessBatch that continues as new, and returns what it hands
// over.
func nextRun(t *testing.T, env *testsuite.TestWorkflowEnvironment, in workflows.BatchInput) (next workflows.BatchInput) {
	t.Helper()
	env.ExecuteWorkflow(workflows.ProcessBatch, in)
	var again *workflow.ContinueAsNewError
	if err := env.GetWorkflowError(); !errors.As(err, &again) {
		t.Fatalf("it ended with %v", err)
	}
	if err := converter.GetDefaultDataConverter().FromPayloads(again.Input, &next); err != nil {
		t.Fatal(err)
	}
	return next
}

// TestASignalThatComesAsARunEndsIsApplied by the next one.
func TestASignalThatComesAsARunEndsIsApplied(t *testing.T) {
	t.Parallel()
	env := batchEnv(&stubborn{})
	env.SetContinueAsNewSuggested(true)
	env.RegisterDelayedCallback(func() {
		env.SignalWorkflow(workflows.Skip, workflows.Branch{First: "3", Last: "3"})
		env.SignalWorkflow(workflows.Retry, workflows.Branch{First: "7", Last: "7"})
		env.SignalWorkflow(workflows.Skip, workflows.Branch{First: "8", Last: "8"}) // there is none
	}, 0)
	later := time.Now().Add(time.Hour)
	next := nextRun(t, env, workflows.BatchInput{Stream: testStream, Range: wholeRange, Tree: &workflows.BatchNode{
		Range: wholeRange, State: workflows.NodeSplit, Children: []*workflows.BatchNode{
			{Range: numbered(3, 3), State: workflows.NodeWaiting, Due: later}, {Range: numbered(7, 7), State: workflows.NodeWaiting, Due: later},
			{Range: numbered(9, 9), State: workflows.NodeWaiting, Due: later},
		},
	}})
	leaves := workflows.Leaves(next.Tree)
	if len(leaves) != 3 || leaves[0].State != workflows.NodeSkipped || leaves[1].State != workflows.NodeWaiting || !leaves[1].Due.Before(later) || !leaves[2].Due.Equal(later) {
		t.Errorf("the next run begins with %+v, %+v, %+v", leaves[0], leaves[1], leaves[2])
	}
}

// TestARunEndsWithinARound when its history is long enough, also while there is
// always a piece that is due.
func TestARunEndsWithinARound(t *testing.T) {
	t.Parallel()
	b := newBisected(func(int) bool { return true })
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	env.RegisterActivityWithOptions(func(ctx context.Context, in process.RangeInput) (process.RangeResult, error) {
		if b.calls == 2 {
			env.SetContinueAsNewSuggested(true)
		}
		return b.IndexRange(ctx, in)
	}, activity.RegisterOptions{Name: "IndexRange"})
	next := nextRun(t, env, workflows.BatchInput{Stream: testStream, Range: numbered(1, 1000), Cause: badCause})
	if leaves := workflows.Leaves(next.Tree); b.calls != 3 || len(leaves) < 3 || workflows.Due(next.Tree, time.Now().Add(time.Hour)) == nil {
		t.Errorf("after %d attempts %d pieces are handed over", b.calls, len(leaves))
	}
}

func TestAnOperatorRetriesAndSkipsBranches(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(s server, command string, branch workflows.Branch) error{
		"update": func(s server, command string, branch workflows.Branch) error {
			update, err := s.UpdateWorkflow(t.Context(), client.UpdateWorkflowOptions{
				WorkflowID: "batch", UpdateName: command, WaitForStage: client.WorkflowUpdateStageCompleted, Args: []any{branch},
			})
			if err != nil {
				return err
			}
			return update.Get(t.Context(), nil)
		},
		"signal": func(s server, command string, branch workflows.Branch) error {
			return s.SignalWorkflow(t.Context(), "batch", "", command, branch)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBisected(func(n int) bool { return n == 3 || n == 7 })
			s := newServer(t, b.register)
			_, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "batch", TaskQueue: workflows.ProcessQueue},
				workflows.ProcessBatch, workflows.BatchInput{Stream: testStream, Range: numbered(1, 10), Cause: badCause})
			if err != nil {
				t.Fatal(err)
			}
			calls := func() int {
				b.mu.Lock()
				defer b.mu.Unlock()
				return b.calls
			}
			status := func() (got workflows.BatchStatus) {
				if answer, err := s.QueryWorkflow(t.Context(), "batch", "", workflows.StatusQuery); err != nil || answer.Get(&got) != nil {
					return workflows.BatchStatus{Tree: &workflows.BatchNode{State: workflows.NodeDone}}
				}
				return got
			}
			await(t, "the two that are left", func() bool { return len(workflows.Leaves(status().Tree)) == 2 && calls() == 1 })
			if err := tell(s, workflows.Retry, workflows.Branch{First: "3", Last: "3"}); err != nil {
				t.Fatal(err)
			}
			await(t, "the attempt", func() bool {
				leaves := workflows.Leaves(status().Tree)
				return calls() == 2 && len(leaves) == 2 && leaves[0].Attempts == 2 && leaves[1].Attempts == 1
			})
			if err := tell(s, workflows.Skip, workflows.Branch{First: "7", Last: "7"}); err != nil {
				t.Fatal(err)
			}
			await(t, "the record in the ledger", func() bool {
				b.mu.Lock()
				defer b.mu.Unlock()
				return b.dead[7] == outcome.TypeSkipped && len(b.dead) == 1
			})
			await(t, "the end of the branch", func() bool { return len(workflows.Leaves(status().Tree)) == 1 })
			if name == "update" {
				if err := tell(s, workflows.Skip, workflows.Branch{First: "7", Last: "7"}); err == nil {
					t.Error("a branch that is done can be skipped")
				}
			}
			b.mu.Lock()
			b.bad = func(int) bool { return false } // whatever it was, it is mended
			b.mu.Unlock()
			if err := tell(s, workflows.Retry, workflows.Branch{}); err != nil {
				t.Fatal(err)
			}
			if err := s.GetWorkflow(t.Context(), "batch", "").Get(t.Context(), nil); err != nil || !b.indexed[3] {
				t.Errorf("it ended with %v", err)
			}
			s.keep("process", "batch", "batch_commanded_by_"+name)
		})
	}
}
