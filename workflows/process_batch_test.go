package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/workflows"

	"go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"millrace/activities/process"
	"millrace/internal/control"
	"millrace/internal/indexing"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// stubborn is what ProcessBatch does its work with, made up: of a range of 10
// records, the one at 5 stays bad for a number of attempts, the others go well.
type stubborn struct {
	mu     sync.Mutex // a server may begin an attempt while one that it gave up still runs
	bad    int
	tried  []telemetry.Range
	buried []process.RangeInput
}

var (
	wholeRange = telemetry.Range{Shard: "shard", First: "1", Last: "10", Count: 10}
	badRecord  = telemetry.Range{Shard: "shard", First: "5", Last: "5", Count: 1}
	badCause   = outcome.Error{Type: "odd", Reason: "unknown", Status: 418}
)

func (s *stubborn) IndexRange(_ context.Context, in process.RangeInput) (process.RangeResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tried = append(s.tried, in.Range)
	good := int64(in.Range.Count)
	var left []process.LeftRange
	switch {
	case len(s.tried) > s.bad:
	case in.Last:
		good--
		s.buried = append(s.buried, in)
		return process.RangeResult{Counts: indexing.Counts{Records: good + 1, Indexed: good, DeadLetters: 1}}, nil
	default:
		good--
		left = []process.LeftRange{{Range: badRecord, Cause: badCause}}
	}
	return process.RangeResult{Counts: indexing.Counts{Records: good, Indexed: good}, Left: left}, nil
}

func (s *stubborn) BuryRange(_ context.Context, in process.RangeInput) (process.RangeResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buried = append(s.buried, in)
	n := int64(in.Range.Count)
	return process.RangeResult{Counts: indexing.Counts{Records: n, DeadLetters: n}}, nil
}

func (s *stubborn) register(w worker.Registry) {
	w.RegisterActivityWithOptions(s.IndexRange, activity.RegisterOptions{Name: "IndexRange"})
	w.RegisterActivityWithOptions(s.BuryRange, activity.RegisterOptions{Name: "BuryRange"})
}

func batchEnv(s *stubborn) *testsuite.TestWorkflowEnvironment {
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	env.RegisterWorkflow(workflows.ProcessBatch)
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
		"never":              {bad: 1000, tries: workflows.DefaultBatchAttempts, indexed: 9, dead: 1},
		"never, of few":      {bad: 1000, attempts: 2, tries: 2, indexed: 9, dead: 1},
		"at the last chance": {bad: workflows.DefaultBatchAttempts - 1, tries: workflows.DefaultBatchAttempts, indexed: 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &stubborn{bad: c.bad}
			env := batchEnv(s)
			env.ExecuteWorkflow(workflows.ProcessBatch, workflows.BatchInput{Stream: testStream, Range: wholeRange, MaxAttempts: c.attempts})
			var got workflows.BatchStatus
			if err := env.GetWorkflowResult(&got); err != nil {
				t.Fatal(err)
			}
			if len(s.tried) != c.tries || got.Counts.Indexed != int64(c.indexed) || got.Counts.DeadLetters != int64(c.dead) || workflows.Open(got.Tree) {
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

// TestABatchGivesUpByAge: what has waited for long enough between its attempts is
// given up, however many of them it may have.
func TestABatchGivesUpByAge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		age   time.Duration
		tries int
	}{
		"longer than one wait":  {age: workflows.FirstBatchWait + time.Second, tries: 3}, // it has waited 5 s, and then 15
		"shorter than one wait": {age: time.Second, tries: 2},                            // 5 s
		"of many waits":         {age: 7 * workflows.LongestBatchWait, tries: 6 + 1 + 6}, // 5 + 10 + 20 + 40 + 80 + 160 s, and then ever 300
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &stubborn{bad: 1000}
			env := batchEnv(s)
			env.ExecuteWorkflow(workflows.ProcessBatch, workflows.BatchInput{Stream: testStream, Range: wholeRange, MaxAttempts: 1000, MaxAge: c.age})
			var got workflows.BatchStatus
			if err := env.GetWorkflowResult(&got); err != nil {
				t.Fatal(err)
			}
			if len(s.tried) != c.tries || got.Counts.DeadLetters != 1 || got.Counts.Indexed != 9 {
				t.Errorf("after %d attempts, not %d, it ended with %+v", len(s.tried), c.tries, got)
			}
		})
	}
}

func TestProcessBatchCanceledWritesToTheLedgerFirst(t *testing.T) {
	t.Parallel()
	bad := &stubborn{bad: 1000}
	s := newServer(t, bad.register)
	ctx, id := t.Context(), workflows.ProcessBatchID(testStream.Name, wholeRange)
	for range 2 { // what runs already is joined
		if err := s.StartBatch(ctx, testStream, wholeRange, badCause, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the first attempt", func() bool {
		answer, err := s.QueryWorkflow(ctx, id, "", workflows.StatusQuery)
		var got workflows.BatchStatus
		return err == nil && answer.Get(&got) == nil && got.State == control.StateWaiting && workflows.Leaves(got.Tree)[0].Range == badRecord
	})
	if err := s.CancelWorkflow(ctx, id, ""); err != nil {
		t.Fatal(err)
	}
	var canceled *temporal.CanceledError
	if err := s.GetWorkflow(ctx, id, "").Get(ctx, nil); !errors.As(err, &canceled) {
		t.Errorf("it ended with %v", err)
	}
	if len(bad.buried) != 1 || bad.buried[0].Range != badRecord || bad.buried[0].Cause.Type != outcome.TypeCanceled {
		t.Errorf("buried are %+v", bad.buried)
	}
	s.keep("process", id, "batch_canceled")
	// One that has ended is run again: the index may have changed since.
	if err := s.StartBatch(ctx, testStream, wholeRange, badCause, time.Time{}); err != nil {
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
	run, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "batch", TaskQueue: workflows.ProcessQueue},
		workflows.ProcessBatch, workflows.BatchInput{Stream: testStream, Range: wholeRange, Cause: badCause, MaxAttempts: 2})
	if err != nil {
		t.Fatal(err)
	}
	var got workflows.BatchStatus
	if err := run.Get(t.Context(), &got); err != nil || got.Counts.DeadLetters != 1 || got.Counts.Records != 10 {
		t.Errorf("it ended with %+v, %v", got, err)
	}
	s.keep("process", "batch", "batch_buried")
}

// bisected is an IndexRange over records numbered from 1: those that are bad
// make any request fail that they are in, and are attributable alone.
type bisected struct {
	mu      sync.Mutex
	bad     func(n int) bool
	calls   int
	indexed map[int]bool
	dead    map[int]string // error type
}

func newBisected(bad func(n int) bool) *bisected {
	return &bisected{bad: bad, indexed: map[int]bool{}, dead: map[int]string{}}
}

func number(t string) int {
	n, err := strconv.Atoi(t)
	if err != nil {
		panic(err)
	}
	return n
}

func numbered(first, last int) telemetry.Range {
	return telemetry.Range{Shard: "shard", First: strconv.Itoa(first), Last: strconv.Itoa(last), Count: last - first + 1}
}

func (b *bisected) IndexRange(_ context.Context, in process.RangeInput) (result process.RangeResult, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	b.try(number(in.Range.First), number(in.Range.Last), in.Last, &result)
	most := 16
	if in.Most > 0 {
		most = min(most, in.Most)
	}
	if len(result.Left) > most && !result.Left[0].Half {
		first, last := result.Left[0].Range, result.Left[len(result.Left)-1].Range
		result.Left = []process.LeftRange{{Range: numbered(number(first.First), number(last.Last)), Cause: badCause}}
	}
	return result, nil
}

func (b *bisected) try(first, last int, final bool, result *process.RangeResult) {
	bad := 0
	for n := first; n <= last; n++ {
		if b.bad(n) {
			bad++
		}
	}
	count := int64(last - first + 1)
	half := first + int(count)/2
	switch {
	case bad == 0:
		for n := first; n <= last; n++ {
			b.indexed[n] = true
		}
		result.Counts.Add(indexing.Counts{Records: count, Indexed: count})
	case count > 64:
		result.Left = append(result.Left,
			process.LeftRange{Range: numbered(first, half-1), Cause: badCause, Half: true},
			process.LeftRange{Range: numbered(half, last), Cause: badCause, Half: true})
	case count > 1:
		b.try(first, half-1, final, result)
		b.try(half, last, final, result)
	case final:
		b.dead[first] = badCause.Type
		result.Counts.Add(indexing.Counts{Records: 1, DeadLetters: 1})
	default:
		result.Left = append(result.Left, process.LeftRange{Range: numbered(first, first), Cause: badCause})
	}
}

func (b *bisected) BuryRange(_ context.Context, in process.RangeInput) (process.RangeResult, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n := number(in.Range.First); n <= number(in.Range.Last); n++ {
		b.dead[n] = in.Cause.Type
	}
	count := int64(in.Range.Count)
	return process.RangeResult{Counts: indexing.Counts{Records: count, DeadLetters: count}}, nil
}

func (b *bisected) register(w worker.Registry) {
	w.RegisterActivityWithOptions(b.IndexRange, activity.RegisterOptions{Name: "IndexRange"})
	w.RegisterActivityWithOptions(b.BuryRange, activity.RegisterOptions{Name: "BuryRange"})
}

// TestProcessBatchBisects: whichever records are to blame, they alone go to
// the ledger, after all their attempts, and finding them takes few activities.
func TestProcessBatchBisects(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		records, mostCalls int
		bad                func(n int) bool
	}{
		"one of 2000":        {2000, 25, func(n int) bool { return n == 1234 }},
		"two neighbours":     {2000, 30, func(n int) bool { return n == 999 || n == 1000 }},
		"first and last":     {500, 35, func(n int) bool { return n == 1 || n == 500 }},
		"none any more":      {2000, 1, func(int) bool { return false }},
		"every one of 300":   {300, 100, func(int) bool { return true }},
		"every 50th of 2000": {2000, 750, func(n int) bool { return n%50 == 0 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBisected(c.bad)
			env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
			env.SetTestTimeout(5 * time.Minute)
			env.RegisterWorkflow(workflows.ProcessBatch)
			env.RegisterActivityWithOptions(b.IndexRange, activity.RegisterOptions{Name: "IndexRange"})
			env.ExecuteWorkflow(workflows.ProcessBatch, workflows.BatchInput{Stream: testStream, Range: numbered(1, c.records), Cause: badCause})
			var got workflows.BatchStatus
			if err := env.GetWorkflowResult(&got); err != nil {
				t.Fatal(err)
			}
			for n := 1; n <= c.records; n++ {
				if b.indexed[n] == c.bad(n) || (b.dead[n] != "") != c.bad(n) {
					t.Fatalf("record %d: indexed %t, dead %q", n, b.indexed[n], b.dead[n])
				}
			}
			if b.calls > c.mostCalls || workflows.Open(got.Tree) || got.Tree.Children != nil {
				t.Errorf("it took %d activities and left %+v", b.calls, got.Tree)
			}
		})
	}
}

// TestTenThousandPoisonRecordsFitIntoHistories with the default number of
// attempts, on a real server, which ends a history of more than 51,200 events,
// or 50 MiB. Pieces are due again before all have been tried, so the first run
// ends within a round.
func TestTenThousandPoisonRecordsFitIntoHistories(t *testing.T) {
	t.Parallel()
	b := newBisected(func(int) bool { return true })
	s := newServer(t, b.register)
	run, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "batch", TaskQueue: workflows.ProcessQueue},
		workflows.ProcessBatch, workflows.BatchInput{Stream: testStream, Range: numbered(1, 10_000), Cause: badCause})
	if err != nil {
		t.Fatal(err)
	}
	next := s.fits(run.GetRunID())
	if next == "" {
		t.Fatalf("it ended after %d activities", b.calls)
	}
	if err := s.order(workflows.Skip); err != nil { // the rest is more of the same
		t.Fatal(err)
	}
	if s.fits(next) != "" || len(b.dead) != 10_000 {
		t.Errorf("%d are dead", len(b.dead))
	}
	t.Logf("%d activities", b.calls)
}

// fits waits for the end of a run of a ProcessBatch, looks at the size of its
// history, and returns the run that goes on, if there is one.
func (s server) fits(run string) (next string) {
	s.t.Helper()
	var info *workflowpb.WorkflowExecutionInfo
	await(s.t, "the end of the run", func() bool {
		described, err := s.DescribeWorkflowExecution(s.t.Context(), "batch", run)
		info = described.GetWorkflowExecutionInfo()
		return err == nil && info.GetCloseTime() != nil
	})
	s.t.Logf("a run has %d events of %d bytes", info.GetHistoryLength(), info.GetHistorySizeBytes())
	if info.GetHistoryLength() > 4_500 || info.GetHistorySizeBytes() > 6<<20 {
		s.t.Errorf("a run has %d events of %d bytes", info.GetHistoryLength(), info.GetHistorySizeBytes())
	}
	last, err := s.GetWorkflowHistory(s.t.Context(), "batch", run, false, enums.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT).Next()
	if err != nil {
		s.t.Fatal(err)
	}
	return last.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId()
}

// TestATreeStaysWithinItsBounds, however scattered what attempts leave, and all
// of it ends.
func TestATreeStaysWithinItsBounds(t *testing.T) {
	t.Parallel()
	const records, every, attempts = 8000, 4, 3
	b := newBisected(func(n int) bool { return n%every == 0 })
	cause := outcome.Error{Type: "illegal_argument_exception", Reason: strings.Repeat("x", 300)}
	tree, now := &workflows.BatchNode{Range: asStored(numbered(1, records)), State: workflows.NodeWaiting, Cause: cause}, time.Now()
	largest, bytes := 0, 0
	for workflows.Open(tree) {
		if next := workflows.Next(tree); next.After(now) {
			now = next
		}
		leaf, room := workflows.Due(tree, now), workflows.Room(tree)
		result, err := b.IndexRange(t.Context(), process.RangeInput{Range: leaf.Range, Most: room, Last: leaf.Attempts+1 >= attempts})
		if err != nil {
			t.Fatal(err)
		}
		for i := range result.Left {
			result.Left[i].Range, result.Left[i].Cause = asStored(result.Left[i].Range), cause
		}
		leaf.State = workflows.NodeRunning
		workflows.End(leaf, result, room, now)
		if workflows.Prune(tree); workflows.Size(tree) > max(largest, workflows.MostNodes) {
			encoded, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			largest, bytes = workflows.Size(tree), len(encoded)
		}
	}
	t.Logf("%d attempts, %d nodes of %d bytes", b.calls, largest, bytes)
	if len(b.dead) != records/every || len(b.indexed) != records-records/every {
		t.Errorf("%d are dead, %d indexed", len(b.dead), len(b.indexed))
	}
	if largest > workflows.MostNodes+2*records/33 || largest == 0 || bytes > 1<<20 {
		t.Errorf("the largest tree had %d nodes of %d bytes", largest, bytes)
	}
}

// asStored is a range as long as real ones are.
func asStored(r telemetry.Range) telemetry.Range {
	r.StreamARN, r.StreamCreated = "arn:aws:kinesis:eu-west-1:123456789012:stream/millrace-telemetry-stream", testStream.Created
	r.Shard = "shardId-000000000003"
	r.First, r.Last = fmt.Sprintf("%056d", number(r.First)), fmt.Sprintf("%056d", number(r.Last))
	return r
}

// A worker that dies in an attempt answers no more, and another one makes it
// again: each record ends once, and the tree is bisected on.
func TestABatchGoesOnWhenAWorkerDiedInAnAttempt(t *testing.T) {
	t.Parallel()
	const poison = 150
	dead := make(chan struct{})
	b, half := newBisected(func(n int) bool { return n == poison }), numbered(101, 200)
	s := newServer(t, func(w worker.Registry) {
		w.RegisterActivityWithOptions(func(ctx context.Context, in process.RangeInput) (process.RangeResult, error) {
			if in.Range == half && activity.GetInfo(ctx).Attempt == 1 {
				<-dead
				return process.RangeResult{}, errors.New("too late")
			}
			return b.IndexRange(ctx, in)
		}, activity.RegisterOptions{Name: "IndexRange"})
	})
	t.Cleanup(func() { close(dead) })
	run, err := s.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "batch", TaskQueue: workflows.ProcessQueue},
		workflows.ProcessBatch, workflows.BatchInput{Stream: testStream, Range: numbered(1, 200), Cause: badCause, MaxAttempts: 2})
	if err != nil {
		t.Fatal(err)
	}
	var got workflows.BatchStatus
	if err := run.Get(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Counts.Records != 200 || got.Counts.Indexed != 199 || len(b.indexed) != 199 || len(b.dead) != 1 || b.dead[poison] == "" {
		t.Errorf("it ended with %+v; %d are indexed, dead are %v", got.Counts, len(b.indexed), b.dead)
	}
	s.keep("process", "batch", "batch_worker_died")
}
