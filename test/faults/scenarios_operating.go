package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"millrace/deploy/local"
	"millrace/test/kit/alarms"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
)

// operating are what happens to Temporal, and what operators do.
var operating = []scenario{
	{number: 16, name: "split-merge-and-restart", alarms: alarms.Expected{May: alarms.AndLate("NothingIsProcessed")}, spans: 20 * time.Second, fault: reshard, check: checkDrained},
	{
		number: 21, name: "temporal-down", alarms: alarms.Expected{Must: alarms.AndLate("BreakerOpen", "DependencyMissing", "NothingIsProcessed"), May: []string{"FallbackQueueRefuses", "IngestBudgetBurnsFast", "IngestBudgetBurns", "IngestBudgetBurnsSlowly"}}, lasts: 2 * time.Minute,
		aws: []faultproxy.Rule{
			{Name: "21 stream", Operation: "PutRecords", Fault: faultproxy.Reset{}},
			{Name: "21 queue", Operation: "SendMessageBatch", Fault: faultproxy.Reset{}},
		},
		fault: withoutTemporal,
		check: func(_ context.Context, s *running, _ audit.Report) error {
			if s.before == 0 {
				return errors.New("every agent got a 2xx though nothing durable was left")
			}
			return nil
		},
	},
	{
		number: 24, name: "canceled-and-terminated", alarms: alarms.Expected{Must: alarms.AndLate("FallbackQueueRefuses"), May: []string{"DeadLettersRise"}}, spans: 60 * time.Second,
		aws: []faultproxy.Rule{
			{Name: "24 stream", Operation: "PutRecords", Fault: faultproxy.Reset{}},
			{Name: "24 queue", Operation: "SendMessageBatch", Fault: faultproxy.Reset{}},
		},
		elasticsearch: []faultproxy.Rule{{Name: "24 undecided", Path: "/_bulk", Fault: faultproxy.RejectItems{Share: 0.3, Status: 400, Type: "mystery_exception"}}},
		prepare: func(_ context.Context, s *running) error {
			s.sent.Excused = true // those of what is canceled
			return nil
		},
		fault: cancelAndTerminate,
		settle: func(ctx context.Context, s *running) error {
			return errors.Join(s.awaitRestarts(ctx), retryBatches(ctx, s))
		},
		check: func(_ context.Context, _ *running, report audit.Report) error {
			if report.Excused == 0 {
				return errors.New("the canceled records are not in the ledger")
			}
			return nil
		},
	},
}

// reshard splits a shard, and merges its halves again; the worker is killed at
// that instant.
func reshard(ctx context.Context, s *running) error {
	states, err := s.shards(ctx)
	if err != nil {
		return err
	}
	s.before = float64(len(states))
	if err := s.split(ctx); err != nil {
		return err
	}
	if err := s.kill(ctx, s.worker); err != nil {
		return err
	}
	if err := s.awaitAccepted(ctx, 0.6); err != nil {
		return err
	}
	if err := s.merge(ctx); err != nil {
		return err
	}
	return s.kill(ctx, s.worker)
}

// checkDrained asks that the shard that was split, and its halves that were
// merged, were processed to their ends.
func checkDrained(ctx context.Context, s *running, _ audit.Report) error {
	var states map[string]string
	err := s.until(ctx, func() (bool, error) {
		var err error
		states, err = s.shards(ctx)
		count := map[string]int{}
		for _, state := range states {
			count[state]++
		}
		return float64(len(states)) == s.before+3 && count["drained"] >= 3 && count["running"] == 2, err
	})
	if err != nil {
		return fmt.Errorf("the shards are %v: %w", states, err)
	}
	return nil
}

// sentAwayWithin is when agents are told to come again, if nothing durable is
// left: after ingest-direct-timeout.
const sentAwayWithin = 7 * time.Second

// withoutTemporal kills Temporal for a while; the collector accepts as before.
// Then stream and queue are away too: nothing durable is left, so nothing may
// be accepted, and nothing be lost when the collector is killed.
func withoutTemporal(ctx context.Context, s *running) error {
	server := s.stack.Service(local.Temporal)
	pid := server.Pid()
	if err := server.Kill(); err != nil {
		return err
	}
	if err := s.gone(ctx, pid); err != nil {
		return err
	}
	began, before := time.Now(), s.sender.Accepted.Len()
	if err := s.hold(ctx, s.lasts*3/4, "BreakerOpen", "DependencyMissing", "NothingIsProcessed"); err != nil {
		return err
	}
	if accepted := s.sender.Accepted.Len() - before; float64(accepted) < s.rate()*s.lasts.Seconds()/4 {
		return fmt.Errorf("the collector has accepted %d records in %s without Temporal", accepted, s.lasts*3/4)
	}
	s.breakAll()
	if err := s.hold(ctx, sentAwayWithin); err != nil {
		return err
	}
	refused, err := s.collector.Metric(ctx, "millrace_api_records_total", `result="unavailable"`)
	if err != nil {
		return err
	}
	s.before = refused
	if err := s.kill(ctx, s.collector); err != nil {
		return err
	}
	if err := s.hold(ctx, s.lasts-time.Since(began)); err != nil {
		return err
	}
	return server.Restart(ctx)
}

// cancelAndTerminate does both to a batch that neither stream nor queue takes,
// and to ranges that Elasticsearch does not decide about.
func cancelAndTerminate(ctx context.Context, s *running) error {
	s.harness.aws.Set(s.scenario.aws...)
	if err := s.endTwo(ctx, "IngestBatch"); err != nil {
		return err
	}
	if err := s.hold(ctx, 0, "FallbackQueueRefuses"); err != nil {
		return err
	}
	s.harness.aws.Set()
	s.harness.elasticsearch.Set(s.scenario.elasticsearch...)
	s.missed = s.endTwo(ctx, "ProcessBatch") // what became of the ranges is for the audit
	return ctx.Err()
}

// endTwo cancels one open workflow of a type and terminates another. The first
// must write what it holds to the ledger; if that is not all, the audit misses
// the rest.
func (s *running) endTwo(ctx context.Context, workflowType string) error {
	var open []string
	if err := s.until(ctx, func() (bool, error) {
		var err error
		// One that has just begun may end before that.
		open, err = s.list(ctx, fmt.Sprintf("WorkflowType='%s' AND ExecutionStatus='Running' AND MillraceState='waiting'", workflowType))
		return len(open) >= 2, err
	}); err != nil {
		return fmt.Errorf("no two of %s wait: %w", workflowType, err)
	}
	if err := s.temporal.CancelWorkflow(ctx, open[0], ""); err != nil {
		return fmt.Errorf("cancel %s: %w", open[0], err)
	}
	if err := s.temporal.TerminateWorkflow(ctx, open[1], "", "by an operator"); err != nil {
		return fmt.Errorf("terminate %s: %w", open[1], err)
	}
	described, err := s.temporal.DescribeWorkflowExecution(ctx, open[1], "")
	if err != nil {
		return fmt.Errorf("describe %s: %w", open[1], err)
	}
	if status := described.GetWorkflowExecutionInfo().GetStatus(); status != enums.WORKFLOW_EXECUTION_STATUS_TERMINATED {
		return fmt.Errorf("%s is %s", open[1], status)
	}
	s.terminated = append(s.terminated, open[1])
	// Before the fault ends: then it could also have gone on.
	if err := s.until(ctx, func() (bool, error) {
		givenUp, err := s.stores.GivenUpBy(ctx, open[0])
		return givenUp > 0, err
	}); err != nil {
		return fmt.Errorf("%s, which was canceled, has written nothing to the ledger: %w", open[0], err)
	}
	return nil
}

// awaitRestarts waits until the terminated workflows run again.
func (s *running) awaitRestarts(ctx context.Context) error {
	for _, id := range s.terminated {
		if err := s.until(ctx, func() (bool, error) {
			described, err := s.temporal.DescribeWorkflowExecution(ctx, id, "")
			return described.GetWorkflowExecutionInfo().GetStatus() != enums.WORKFLOW_EXECUTION_STATUS_TERMINATED, err
		}); err != nil {
			return fmt.Errorf("%s is not taken up again: %w", id, err)
		}
	}
	return nil
}

// list returns the ids of workflows.
func (s *running) list(ctx context.Context, query string) (ids []string, err error) {
	page, err := s.temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: query})
	if err != nil {
		return nil, fmt.Errorf("list workflows: %w", err)
	}
	for _, info := range page.GetExecutions() {
		ids = append(ids, info.GetExecution().GetWorkflowId())
	}
	return ids, nil
}

// retryBatches is an operator who does not want to wait for the next attempt,
// until no batch is open.
func retryBatches(ctx context.Context, s *running) error {
	return s.until(ctx, func() (bool, error) {
		open, err := s.list(ctx, "WorkflowType IN ('ProcessBatch','IngestBatch') AND ExecutionStatus='Running'")
		if err != nil {
			return false, err
		}
		for _, id := range open {
			// It may end at this moment, or have no use for it.
			_ = s.temporal.SignalWorkflow(ctx, id, "", "retry", nil)
		}
		return len(open) == 0, nil
	})
}

// open returns the shards that take records, in the order of their hash keys.
func (s *running) open(ctx context.Context) (open []types.Shard, err error) {
	listed, err := s.streams.ListShards(ctx, &kinesis.ListShardsInput{StreamName: &s.resources.Stream})
	if err != nil {
		return nil, fmt.Errorf("list shards: %w", err)
	}
	for _, shard := range listed.Shards {
		if shard.SequenceNumberRange.EndingSequenceNumber == nil {
			open = append(open, shard)
		}
	}
	slices.SortFunc(open, func(a, b types.Shard) int {
		return hashKey(a.HashKeyRange.StartingHashKey).Cmp(hashKey(b.HashKeyRange.StartingHashKey))
	})
	return open, nil
}

func hashKey(text *string) *big.Int {
	n, _ := new(big.Int).SetString(*text, 10)
	return n
}

// split splits the first shard in the middle.
func (s *running) split(ctx context.Context) error {
	open, err := s.open(ctx)
	if err != nil {
		return err
	}
	keys := open[0].HashKeyRange
	middle := new(big.Int).Add(hashKey(keys.StartingHashKey), hashKey(keys.EndingHashKey))
	at := middle.Rsh(middle, 1).String()
	if _, err = s.streams.SplitShard(ctx, &kinesis.SplitShardInput{
		StreamName: &s.resources.Stream, ShardToSplit: open[0].ShardId, NewStartingHashKey: &at,
	}); err != nil {
		return fmt.Errorf("split a shard: %w", err)
	}
	return nil
}

// merge merges the first two shards: the halves of what was split.
func (s *running) merge(ctx context.Context) error {
	open, err := s.open(ctx)
	if err != nil {
		return err
	}
	if _, err = s.streams.MergeShards(ctx, &kinesis.MergeShardsInput{
		StreamName: &s.resources.Stream, ShardToMerge: open[0].ShardId, AdjacentShardToMerge: open[1].ShardId,
	}); err != nil {
		return fmt.Errorf("merge shards: %w", err)
	}
	return nil
}
