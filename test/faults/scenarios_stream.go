package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/deploy/pipeline"
	"millrace/internal/archive"
	"millrace/internal/ledger"
	"millrace/internal/load"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/alarms"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
)

// gone are records that the stream has lost before they were read: that must be
// in the ledger, and nothing else may be missing.
var gone = []scenario{
	{number: 29, name: "stream-made-anew", alarms: alarms.Expected{Must: alarms.AndLate("FallbackQueueUsed", "RecordsTrimmedUnread"), May: []string{"FallbackQueueAges", "NothingIsProcessed", "ShardLags"}}, spans: 45 * time.Second, fault: makeStreamAnew, check: checkLost},
	{
		number: 30, name: "retention-shortened", alarms: alarms.Expected{
			// What is late may be so before the first scrape, as in scenario 3.
			Must: noWorkerAnd("DelayBudgetBurnsSlowly", "RecordsTrimmedUnread"), May: alarms.AndLate("ShardLags", "ShardNearsRetention"),
		}, spans: 45 * time.Second,
		prepare: func(ctx context.Context, s *running) error {
			hours := int32(stream.ShortestRetention / time.Hour)
			if _, err := s.streams.IncreaseStreamRetentionPeriod(ctx, &kinesis.IncreaseStreamRetentionPeriodInput{StreamName: &s.resources.Stream, RetentionPeriodHours: aws.Int32(2 * hours)}); err != nil {
				return err
			}
			// The worker of the scenario before has counted losses: one that begins anew, and counts as many before it is scraped,
			// seems to have counted none.
			return errors.Join(s.worker.Stop(), s.worker.Restart(ctx))
		},
		fault: shortenRetention, check: checkLost,
	},
}

// placed is a record where it is in the stream.
type placed struct {
	shard, position string
	arrived         time.Time
	number          uint64
}

// unread has nothing be read from the stream.
func unread(name string) faultproxy.Rule {
	return faultproxy.Rule{Name: name, Operation: "GetRecords", Fault: faultproxy.Throttle()}
}

// makeStreamAnew deletes the stream while some of it is unread, and makes it anew
// under its name.
func makeStreamAnew(ctx context.Context, s *running) error {
	rules := []faultproxy.Rule{unread("29 unread")}
	s.harness.aws.Set(rules...)
	if err := s.awaitMore(ctx, 0.2); err != nil {
		return err
	}
	// What is put from now on is not in the stream that is deleted.
	rules = append(rules, faultproxy.Rule{Name: "29 unput", Operation: "PutRecords", Fault: faultproxy.Throttle()})
	s.harness.aws.Set(rules...)
	if err := s.awaitMore(ctx, 0.1); err != nil {
		return err
	}
	if err := s.hold(ctx, 0, "FallbackQueueUsed"); err != nil {
		return err
	}
	all, created, err := s.inStream(ctx)
	if err != nil {
		return err
	}
	if _, err := s.streams.DeleteStream(ctx, &kinesis.DeleteStreamInput{StreamName: &s.resources.Stream}); err != nil {
		return fmt.Errorf("delete the stream: %w", err)
	}
	if err := kinesis.NewStreamNotExistsWaiter(s.streams).Wait(ctx, &kinesis.DescribeStreamInput{StreamName: &s.resources.Stream}, longest); err != nil {
		return fmt.Errorf("wait until the stream is deleted: %w", err)
	}
	if err := s.pipeline.Setup(ctx); err != nil {
		return err
	}
	s.pass()
	return s.awaitLosses(ctx, all, created)
}

// shortenRetention has the stream forget all that has come so far, of which some
// is unread, while the worker is away. No emulator trims: the proxy does.
func shortenRetention(ctx context.Context, s *running) error {
	s.harness.aws.Set(unread("30 unread"))
	if err := s.awaitMore(ctx, 0.2); err != nil {
		return err
	}
	if err := s.end(ctx, s.worker); err != nil {
		return err
	}
	horizon := time.Now()
	if err := s.awaitMore(ctx, 0.1); err != nil { // the stream goes on behind it
		return err
	}
	if err := s.hold(ctx, 0, noWorker...); err != nil {
		return err
	}
	all, created, err := s.inStream(ctx)
	if err != nil {
		return err
	}
	var trimmed []placed
	for _, p := range all {
		if p.arrived.Before(horizon) {
			trimmed = append(trimmed, p)
		}
	}
	hours := int32(stream.ShortestRetention / time.Hour)
	if _, err := s.streams.DecreaseStreamRetentionPeriod(ctx, &kinesis.DecreaseStreamRetentionPeriodInput{StreamName: &s.resources.Stream, RetentionPeriodHours: &hours}); err != nil {
		return fmt.Errorf("shorten the stream's retention: %w", err)
	}
	s.harness.aws.Set(faultproxy.Rule{Name: "30 trimmed", Operation: "GetRecords", Fault: faultproxy.Trim{Before: horizon}})
	if err := s.worker.Restart(ctx); err != nil {
		return err
	}
	return s.awaitLosses(ctx, trimmed, created)
}

// awaitMore waits until a further share of the load was accepted.
func (s *running) awaitMore(ctx context.Context, share float64) error {
	return s.awaitAccepted(ctx, share+float64(s.sender.Accepted.Len())/float64(s.options.Records))
}

// inStream reads the scenario's records in the stream, past the proxy, and tells
// when the stream was made.
func (s *running) inStream(ctx context.Context) (all []placed, created time.Time, err error) {
	created, err = s.eachInStream(ctx, func(shard string, r stream.Record) {
		for _, d := range r.Documents() {
			if n, ours := s.sent.Source.Number(telemetry.ParseFields(d.Data).ID); ours {
				all = append(all, placed{shard, d.Sequence, d.Arrived, n})
			}
		}
	})
	return all, created, err
}

// eachInStream reads the stream, past the proxy.
func (s *running) eachInStream(ctx context.Context, take func(shard string, r stream.Record)) (created time.Time, err error) {
	found, err := stream.Open(ctx, s.streams, s.resources.Stream, stream.Settings{CallsPerSecond: -1, BytesPerSecond: -1})
	if err != nil {
		return created, err
	}
	shards, err := found.Shards(ctx)
	if err != nil {
		return created, err
	}
	for _, shard := range shards {
		reader := found.Reader(shard.ID, telemetry.Checkpoint{})
		for more := true; more; {
			page, err := reader.Next(ctx)
			if err != nil {
				return created, err
			}
			more = len(page.Records) > 0 && !page.End
			for _, r := range page.Records {
				take(shard.ID, r)
			}
		}
	}
	return found.Created(), nil
}

// awaitLosses waits until the ledger has a possible loss of each shard of some
// records. Those in the ranges that it names are excused, and no others.
func (s *running) awaitLosses(ctx context.Context, records []placed, created time.Time) error {
	wanted := map[string]bool{}
	for _, p := range records {
		wanted[p.shard] = true
	}
	var lost []telemetry.Range
	if err := s.until(ctx, func() (bool, error) {
		var err error
		lost, err = s.losses(ctx, created)
		reported := map[string]bool{}
		for _, r := range lost {
			reported[r.Shard] = wanted[r.Shard]
		}
		return len(reported) == len(wanted), err
	}); err != nil {
		return found("of the shards %v these losses are reported: %v: %v", wanted, lost, err)
	}
	s.deleted = new(load.Set)
	for _, p := range records {
		for _, r := range lost {
			if r.Shard == p.shard && telemetry.ComparePositions(p.position, r.First) > 0 && (r.Last == "" || telemetry.ComparePositions(p.position, r.Last) < 0) {
				s.deleted.Add(p.number)
			}
		}
	}
	if all := uint64(len(records)); s.deleted.Len() == all {
		return found("all %d records in the stream are reported as lost: some were read", all)
	}
	return nil
}

// losses are the ranges of a stream that the ledger calls a possible loss.
func (s *running) losses(ctx context.Context, created time.Time) (lost []telemetry.Range, err error) {
	l := ledger.New(archive.Open(pipeline.S3(s.stack), s.resources.Bucket), s.resources.Stream)
	for key, err := range l.List(ctx, ledger.Filter{Stream: s.resources.Stream}) {
		if err != nil {
			return nil, err
		}
		e, err := l.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		if e.Kind == ledger.Loss && e.Range.StreamCreated.Equal(created) && e.At.After(s.began) {
			lost = append(lost, e.Range)
		}
	}
	return lost, nil
}

// checkLost asks that some of what is reported as lost is not there.
func checkLost(ctx context.Context, s *running, _ audit.Report) error {
	indexed, err := audit.Indexed(ctx, s.stores, s.sent.Source)
	if err != nil {
		return err
	}
	if s.deleted.Without(indexed).Len() == 0 {
		return errors.New("nothing was lost")
	}
	return nil
}
