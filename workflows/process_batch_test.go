package workflows

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"millrace/activities"
	"millrace/internal/index"
	"millrace/internal/telemetry"
)

// stubborn is what ProcessBatch does its work with, made up: of a range of 10
// records, the one at 5 stays bad for a number of attempts, the others go well.
type stubborn struct {
	bad    int
	tried  []telemetry.Range
	buried []activities.RangeInput
}

var (
	wholeRange = telemetry.Range{Shard: "shard", First: "1", Last: "10", Count: 10}
	badRecord  = telemetry.Range{Shard: "shard", First: "5", Last: "5", Count: 1}
	badCause   = index.Error{Type: "odd", Reason: "nobody knows", Status: 418}
)

func (s *stubborn) IndexRange(_ context.Context, in activities.RangeInput) (activities.RangeResult, error) {
	s.tried = append(s.tried, in.Range)
	good := int64(in.Range.Count)
	var left []activities.LeftRange
	switch {
	case len(s.tried) > s.bad:
	case in.Last:
		good--
		s.buried = append(s.buried, in)
		return activities.RangeResult{Counts: activities.Counts{Records: good + 1, Indexed: good, DeadLetters: 1}}, nil
	default:
		good--
		left = []activities.LeftRange{{Range: badRecord, Cause: badCause}}
	}
	return activities.RangeResult{Counts: activities.Counts{Records: good, Indexed: good}, Left: left}, nil
}

func (s *stubborn) BuryRange(_ context.Context, in activities.RangeInput) (activities.RangeResult, error) {
	s.buried = append(s.buried, in)
	n := int64(in.Range.Count)
	return activities.RangeResult{Counts: activities.Counts{Records: n, DeadLetters: n}}, nil
}

func (s *stubborn) register(w worker.Registry) {
	w.RegisterActivityWithOptions(s.IndexRange, activity.RegisterOptions{Name: "IndexRange"})
	w.RegisterActivityWithOptions(s.BuryRange, activity.RegisterOptions{Name: "BuryRange"})
}

func batchEnv(s *stubborn) *testsuite.TestWorkflowEnvironment {
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	env.SetTestTimeout(30 * time.Second)
	env.RegisterWorkflow(ProcessBatch)
	env.RegisterActivityWithOptions(s.IndexRange, activity.RegisterOptions{Name: "IndexRange"})
	env.RegisterActivityWithOptions(s.BuryRange, activity.RegisterOptions{Name: "BuryRange"})
	return env
}

func TestProcessBatchTriesWhatIsLeftAndThenBuriesIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bad, attempts  int
		tries, indexed int
		dead           int
	}{
		"at once":            {bad: 0, tries: 1, indexed: 10},
		"at the third":       {bad: 2, tries: 3, indexed: 10},
		"never":              {bad: 1000, tries: DefaultBatchAttempts, indexed: 9, dead: 1},
		"never, of few":      {bad: 1000, attempts: 2, tries: 2, indexed: 9, dead: 1},
		"at the last chance": {bad: DefaultBatchAttempts - 1, tries: DefaultBatchAttempts, indexed: 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &stubborn{bad: c.bad}
			env := batchEnv(s)
			env.ExecuteWorkflow(ProcessBatch, BatchInput{Stream: testStream, Range: wholeRange, MaxAttempts: c.attempts})
			var got BatchStatus
			if err := env.GetWorkflowResult(&got); err != nil {
				t.Fatal(err)
			}
			if len(s.tried) != c.tries || got.Counts.Indexed != int64(c.indexed) || got.Counts.DeadLetters != int64(c.dead) || len(got.Pieces) != 0 {
				t.Errorf("after %d attempts it ended with %+v", len(s.tried), got)
			}
			for n, r := range s.tried {
				if want := map[bool]telemetry.Range{true: wholeRange, false: badRecord}[n == 0]; r != want {
					t.Errorf("attempt %d was at %s", n, r)
				}
			}
			if len(s.buried) != c.dead || c.dead > 0 && s.buried[0].Range != badRecord {
				t.Errorf("buried are %+v", s.buried)
			}
		})
	}
}

func TestProcessBatchCanceledWritesToTheLedgerFirst(t *testing.T) {
	t.Parallel()
	bad := &stubborn{bad: 1000}
	s := newServer(t, bad.register)
	ctx, id := t.Context(), ProcessBatchID(testStream.Name, wholeRange)
	for range 2 { // what runs already is joined
		if err := s.StartBatch(ctx, testStream, wholeRange, badCause); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the first attempt", func() bool {
		answer, err := s.QueryWorkflow(ctx, id, "", StatusQuery)
		var got BatchStatus
		return err == nil && answer.Get(&got) == nil && got.State == activities.StateWaiting && got.Pieces[0].Range == badRecord
	})
	if err := s.CancelWorkflow(ctx, id, ""); err != nil {
		t.Fatal(err)
	}
	var canceled *temporal.CanceledError
	if err := s.GetWorkflow(ctx, id, "").Get(ctx, nil); !errors.As(err, &canceled) {
		t.Errorf("it ended with %v", err)
	}
	if len(bad.buried) != 1 || bad.buried[0].Range != badRecord || bad.buried[0].Cause.Type != canceledBatch {
		t.Errorf("buried are %+v", bad.buried)
	}
	s.keep("process", id, "batch_canceled")
	// One that has ended is run again: nobody knows what became of the index since.
	if err := s.StartBatch(ctx, testStream, wholeRange, badCause); err != nil {
		t.Fatal(err)
	}
	await(t, "the attempt of the second run", func() bool { return s.running(id) })
}

// running reports whether the workflow of that id runs.
func (s server) running(id string) bool {
	described, err := s.DescribeWorkflowExecution(s.t.Context(), id, "")
	return err == nil && described.GetWorkflowExecutionInfo().GetCloseTime() == nil
}

func TestProcessBatchToItsEnd(t *testing.T) {
	t.Parallel()
	bad := &stubborn{bad: 1000}
	s := newServer(t, bad.register)
	run, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "batch", TaskQueue: ProcessQueue},
		ProcessBatch, BatchInput{Stream: testStream, Range: wholeRange, Cause: badCause, MaxAttempts: 2})
	if err != nil {
		t.Fatal(err)
	}
	var got BatchStatus
	if err := run.Get(t.Context(), &got); err != nil || got.Counts.DeadLetters != 1 || got.Counts.Records != 10 {
		t.Errorf("it ended with %+v, %v", got, err)
	}
	s.keep("process", "batch", "batch_buried")
}
