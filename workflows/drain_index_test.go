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
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"millrace/activities/deadletters"
	"millrace/deploy/local/localtest"
	"millrace/internal/control"
)

// parkedFor is an index that is out of service for some calls.
type parkedFor struct {
	mu    sync.Mutex
	out   int
	calls []deadletters.DrainCall
	then  func(call int) // before a call ends
}

func (p *parkedFor) DrainParked(_ context.Context, in deadletters.DrainCall) (deadletters.DrainResult, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, in)
	result := deadletters.DrainResult{Counts: in.Counts, Worker: "made up"}
	if result.Out = len(p.calls) <= p.out; result.Out {
		result.LastError = "index_closed_exception: closed"
	} else {
		result.Done = true
		result.Counts.Indexed += 5
	}
	if p.then != nil {
		p.then(len(p.calls))
	}
	return result, nil
}

func drainEnv(p *parkedFor) *testsuite.TestWorkflowEnvironment {
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	env.RegisterWorkflow(workflows.DrainIndex)
	env.RegisterActivityWithOptions(p.DrainParked, activity.RegisterOptions{Name: "DrainParked"})
	return env
}

// TestDrainIndexProbesUntilTheIndexTakesWrites: ever more rarely, and an operator
// sees why it waits.
func TestDrainIndexProbesUntilTheIndexTakesWrites(t *testing.T) {
	t.Parallel()
	p := &parkedFor{out: 3}
	env := drainEnv(p)
	began := env.Now()
	var during workflows.DrainStatus
	env.RegisterDelayedCallback(func() {
		if answer, err := env.QueryWorkflow(workflows.StatusQuery); err != nil || answer.Get(&during) != nil {
			t.Error(err)
		}
	}, workflows.FirstProbe/2)
	env.ExecuteWorkflow(workflows.DrainIndex, workflows.DrainInput{Stream: "s", Index: "a"})
	var got workflows.DrainStatus
	if err := env.GetWorkflowResult(&got); err != nil {
		t.Fatal(err)
	}
	if got.State != workflows.StateDone || got.Counts.Indexed != 5 || len(p.calls) != 4 {
		t.Errorf("it ended with %+v after %d calls", got, len(p.calls))
	}
	if during.State != control.StateWaiting || during.LastError == "" {
		t.Errorf("while the index is out of service it is %+v", during)
	}
	if took := env.Now().Sub(began); took < 7*workflows.FirstProbe {
		t.Errorf("its probes were over after %v", took)
	}
}

// TestDrainIndexLooksAgainForWhatWasParkedMeanwhile: a signal that comes while a
// call runs reports an entry that it may not have seen.
func TestDrainIndexLooksAgainForWhatWasParkedMeanwhile(t *testing.T) {
	t.Parallel()
	p := &parkedFor{}
	env := drainEnv(p)
	p.then = func(call int) {
		if call == 1 {
			env.SignalWorkflow(workflows.Parked, nil)
		}
	}
	env.ExecuteWorkflow(workflows.DrainIndex, workflows.DrainInput{Stream: "s", Index: "a"})
	var got workflows.DrainStatus
	if err := env.GetWorkflowResult(&got); err != nil || len(p.calls) != 2 || p.calls[1].Counts.Indexed != 5 {
		t.Errorf("it ended with %+v after %d calls, error %v", got, len(p.calls), err)
	}
}

// TestDrainIndexOnAServer is started by activities, paused, resumed, and ends.
func TestDrainIndexOnAServer(t *testing.T) {
	t.Parallel()
	c, p := localtest.TemporalClient(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...)), &parkedFor{out: 1}
	w := worker.New(c, workflows.DeadQueue, worker.Options{})
	w.RegisterWorkflow(workflows.DrainIndex)
	w.RegisterActivityWithOptions(p.DrainParked, activity.RegisterOptions{Name: "DrainParked"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	s, id := server{c, launch.Launcher{Client: c}, t}, workflows.DrainIndexID("telemetry-log-2026.11.23")
	for range 2 { // that it runs already is success
		if err := s.StartDrain(t.Context(), testStream, "telemetry-log-2026.11.23"); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the first call", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.calls) == 1 })
	var paused workflows.DrainStatus
	s.update(id, workflows.Pause, &paused)
	if paused.State != control.StatePaused || len(paused.Holds) != 1 || paused.Stream != testStream.Name {
		t.Fatalf("paused it is %+v", paused)
	}
	if err := s.SignalWorkflow(t.Context(), id, "", workflows.Resume, nil); err != nil {
		t.Fatal(err)
	}
	await(t, "the end", func() bool {
		run, err := s.DescribeWorkflowExecution(t.Context(), id, "")
		return err == nil && run.GetWorkflowExecutionInfo().GetStatus() == enums.WORKFLOW_EXECUTION_STATUS_COMPLETED
	})
	s.keep("drain_index", id, "paused_and_done")
}

// TestDrainIndexWaitsNoLongerThanTheLongestProbe also after many.
func TestDrainIndexWaitsNoLongerThanTheLongestProbe(t *testing.T) {
	t.Parallel()
	p := &parkedFor{out: 12}
	env := drainEnv(p)
	began := env.Now()
	env.ExecuteWorkflow(workflows.DrainIndex, workflows.DrainInput{Stream: "s", Index: "a"})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if took := env.Now().Sub(began); took > 12*workflows.LongestProbe+time.Minute {
		t.Errorf("it took %v", took)
	}
}
