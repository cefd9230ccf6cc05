package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"golang.org/x/sync/errgroup"

	"millrace/deploy/local/localtest"
)

// A shard is split and two are merged under load, and the worker is killed
// between: children are read when their parents are drained, and nothing is
// lost or there twice.
func TestReshardingUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	cfg := localtest.Kinesalite(t)
	streams := kinesis.NewFromConfig(cfg)
	s := start(t, func(at *servers) { at.kinesis = *cfg.BaseEndpoint })
	t.Cleanup(func() {
		_, _ = streams.DeleteStream(context.WithoutCancel(t.Context()), &kinesis.DeleteStreamInput{StreamName: &s.resources.Stream})
	})
	r := resharding{s, streams}

	sender := s.sender(4_000, 300)
	group, ctx := errgroup.WithContext(t.Context())
	group.Go(func() error { return sender.Run(ctx) })
	group.Go(func() error {
		for _, c := range []struct {
			at   uint64
			what func(context.Context) error
		}{
			{800, r.splitFirst},
			{1_600, func(ctx context.Context) error { s.worker.Kill(); return s.worker.Restart(ctx) }},
			{2_400, r.mergeFirst},
		} {
			if err := until(ctx, func() bool { return sender.Accepted.Len() >= c.at }); err != nil {
				return err
			}
			if err := c.what(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	s.must(group.Wait())
	s.awaitAll(sender)

	// Two shards, of which one became two, and two became one.
	s.await(func() error {
		states := s.shardStates()
		drained := 0
		for _, state := range states {
			if state == "drained" {
				drained++
			}
		}
		if len(states) != 5 || drained != 3 {
			return fmt.Errorf("the shards are %v", states)
		}
		return nil
	})
}

// shardStates asks the operator's command.
func (s *system) shardStates() map[string]string {
	s.t.Helper()
	printed, err := s.Starter(s.t.Context(), "shards", "--json")
	s.must(err)
	var shards []struct{ Shard, State string }
	s.must(json.Unmarshal([]byte(printed), &shards))
	states := map[string]string{}
	for _, s := range shards {
		states[s.Shard] = s.State
	}
	return states
}

type resharding struct {
	*system
	streams *kinesis.Client
}

// open returns the shards that take records, in the order of their hash keys.
func (r resharding) open(ctx context.Context) ([]types.Shard, error) {
	listed, err := r.streams.ListShards(ctx, &kinesis.ListShardsInput{StreamName: &r.resources.Stream})
	if err != nil {
		return nil, fmt.Errorf("list shards: %w", err)
	}
	var open []types.Shard
	for _, s := range listed.Shards {
		if s.SequenceNumberRange.EndingSequenceNumber == nil {
			open = append(open, s)
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

func (r resharding) splitFirst(ctx context.Context) error {
	open, err := r.open(ctx)
	if err != nil {
		return err
	}
	keys := open[0].HashKeyRange
	middle := new(big.Int).Add(hashKey(keys.StartingHashKey), hashKey(keys.EndingHashKey))
	at := middle.Rsh(middle, 1).String()
	_, err = r.streams.SplitShard(ctx, &kinesis.SplitShardInput{
		StreamName: &r.resources.Stream, ShardToSplit: open[0].ShardId, NewStartingHashKey: &at,
	})
	if err != nil {
		return fmt.Errorf("split a shard: %w", err)
	}
	return nil
}

// mergeFirst merges the two halves of what was split.
func (r resharding) mergeFirst(ctx context.Context) error {
	open, err := r.open(ctx)
	if err != nil {
		return err
	}
	_, err = r.streams.MergeShards(ctx, &kinesis.MergeShardsInput{
		StreamName: &r.resources.Stream, ShardToMerge: open[0].ShardId, AdjacentShardToMerge: open[1].ShardId,
	})
	if err != nil {
		return fmt.Errorf("merge shards: %w", err)
	}
	return nil
}
