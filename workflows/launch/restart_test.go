package launch

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"millrace/activities/supervise"
	"millrace/internal/control"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// The shard is past the range of a batch: one that is terminated is started
// again, once; one that an operator has canceled is not.
func TestATerminatedProcessBatchIsStartedAgain(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.refuseRanges()
	ctx, other := t.Context(), badRecord
	ids := []string{workflows.ProcessBatchID(testStream.Name, wholeRange), workflows.ProcessBatchID(testStream.Name, other)}
	if err := s.StartBatch(ctx, testStream, wholeRange, badCause, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := s.StartBatch(ctx, testStream, other, badCause, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := s.TerminateWorkflow(ctx, ids[0], "", "a test"); err != nil {
		t.Fatal(err)
	}
	if err := s.CancelWorkflow(ctx, ids[1], ""); err != nil {
		t.Fatal(err)
	}
	restarted := 0
	await(t, "visibility to know of the termination", func() bool {
		restarted += s.restartBatches()
		return restarted > 0
	})
	if !s.running(ids[0]) {
		t.Error("the terminated batch does not run again")
	}
	await(t, "the end of the canceled batch", func() bool { return !s.running(ids[1]) })
	if n := s.restartBatches(); n != 0 || restarted != 1 {
		t.Errorf("%d and then %d batches were restarted", restarted, n)
	}
	answer, err := s.QueryWorkflow(ctx, ids[0], "", workflows.StatusQuery)
	var got workflows.BatchStatus
	if err != nil || answer.Get(&got) != nil || got.Range != wholeRange || got.Cause.Type != badCause.Type || got.State == control.StateDrained {
		t.Errorf("the new run is %+v: %v", got, err)
	}
	described, err := s.DescribeWorkflowExecution(ctx, ids[0], "")
	if err != nil || described.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_RUNNING {
		t.Errorf("the new run is not running: %v", err)
	}
}

// TestABatchIsOpenUntilItHasComeToItsEnd: one that was terminated is, and so is
// one that came to its end later than the time that is asked about; one that an
// operator has canceled is not.
func TestABatchIsOpenUntilItHasComeToItsEnd(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.refuseRanges()
	ctx, other := t.Context(), badRecord
	earlier := wholeRange // of an earlier stream of that name
	earlier.StreamCreated = earlier.StreamCreated.Add(-time.Hour)
	for _, r := range []telemetry.Range{wholeRange, other, earlier} {
		if err := s.StartBatch(ctx, testStream, r, badCause, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	open := func(at time.Time) (ranges []string) {
		t.Helper()
		found, err := s.OpenBatches(ctx, testStream, at)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range found {
			ranges = append(ranges, workflows.ProcessBatchID(testStream.Name, r))
		}
		slices.Sort(ranges)
		return ranges
	}
	ids := []string{workflows.ProcessBatchID(testStream.Name, wholeRange), workflows.ProcessBatchID(testStream.Name, other), workflows.ProcessBatchID(testStream.Name, earlier)}
	all := slices.Sorted(slices.Values(ids))
	await(t, "all batches to be listed", func() bool { return slices.Equal(open(time.Now()), all) })
	began := time.Now()
	if err := s.TerminateWorkflow(ctx, ids[0], "", "a test"); err != nil {
		t.Fatal(err)
	}
	if err := s.TerminateWorkflow(ctx, ids[2], "", "a test"); err != nil {
		t.Fatal(err)
	}
	if err := s.CancelWorkflow(ctx, ids[1], ""); err != nil {
		t.Fatal(err)
	}
	await(t, "the end of the canceled batch", func() bool { return !s.running(ids[1]) })
	await(t, "visibility to know of all ends", func() bool {
		ended, err := s.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: "WorkflowType = 'ProcessBatch' AND ExecutionStatus != 'Running'"})
		if err != nil {
			t.Fatal(err)
		}
		return ended.GetCount() == int64(len(ids))
	})
	late := began.Add(2 * handoverWithin)
	if got, want := open(late), slices.Sorted(slices.Values([]string{ids[0], ids[2]})); !slices.Equal(got, want) {
		t.Errorf("after the end of one these are open: %v, want %v", got, want)
	}
	if got := open(began); !slices.Equal(got, all) {
		t.Errorf("before they ended these were open: %v", got)
	}
}

// restartBatches starts each ProcessBatch again that closed unfinished.
func (s server) restartBatches() (restarted int) {
	s.t.Helper()
	err := s.UnfinishedBatches(s.t.Context(), time.Time{}, func(id, run string) error {
		started, err := s.RestartBatch(s.t.Context(), id, run)
		if started {
			restarted++
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return restarted
}

// TestShardsOfEarlierStreamsAreKnown: while Temporal keeps their workflows, open or
// closed, and not those of a stream whose name only begins so.
func TestShardsOfEarlierStreamsAreKnown(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, earlier, other := t.Context(), testStream, testStream
	earlier.Created = earlier.Created.Add(-time.Hour)
	other.Name += "-2"
	want := []telemetry.Range{
		{StreamCreated: earlier.Created, Shard: "shardId-000000000000"}, {StreamCreated: testStream.Created, Shard: "shardId-000000000000"},
		{StreamCreated: testStream.Created, Shard: "shardId-000000000001"},
	}
	for _, shard := range want {
		stream := testStream
		stream.Created = shard.StreamCreated
		if err := s.Start(ctx, supervise.ShardStart{Stream: stream, Shard: shard.Shard}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Start(ctx, supervise.ShardStart{Stream: other, Shard: "shardId-000000000000"}); err != nil {
		t.Fatal(err)
	}
	if err := s.TerminateWorkflow(ctx, workflows.ProcessShardID(earlier.Name, earlier.Created, want[0].Shard), "", "a test"); err != nil {
		t.Fatal(err)
	}
	await(t, "visibility to know of all, and of the end of one", func() bool {
		ended, err := s.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: "ExecutionStatus = 'Terminated'"})
		if err != nil {
			t.Fatal(err)
		}
		all, err := s.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: "WorkflowType = 'ProcessShard'"})
		if err != nil {
			t.Fatal(err)
		}
		return ended.GetCount() == 1 && all.GetCount() == int64(len(want)+1)
	})
	got, err := s.ProcessedShards(ctx, testStream.Name)
	slices.SortFunc(got, func(a, b telemetry.Range) int {
		return cmp.Or(a.StreamCreated.Compare(b.StreamCreated), cmp.Compare(a.Shard, b.Shard))
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}
