package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// subscriber reads a shard by enhanced fan-out: Kinesis pushes what arrives,
// within a throughput of 2 MiB a second and shard that no other consumer
// shares (developer guide, 'Enhanced fan-out consumers').
type subscriber struct {
	stream *Stream
	name   string // of the consumer
	shard  string
	events *kinesis.SubscribeToShardEventStream
	cancel context.CancelFunc // ends the subscription
}

// errSilent says that nothing came for Settings.AnswerWithin: the connection
// may be gone without anybody having said so.
var errSilent = errors.New("nothing was heard of the subscription")

// open subscribes. A subscription that this consumer had is ended by that; it
// lasts for five minutes, and Kinesis takes a new one every five seconds (API
// reference of SubscribeToShard).
func (s *subscriber) open(ctx context.Context, at position) error {
	s.close()
	asked, answered := s.stream.awaiting(ctx)
	defer answered()
	consumer, err := s.stream.consumer(asked, s.name)
	if err != nil {
		return err
	}
	start := &types.StartingPosition{Type: types.ShardIteratorTypeTrimHorizon}
	if at.sequence != "" {
		start.Type, start.SequenceNumber = types.ShardIteratorTypeAtSequenceNumber, &at.sequence
	}
	// A client of its own: subscriptions of one client decode their events into
	// the same buffer, at the same time (seen in service/kinesis v1.56.11 with
	// smithy-go v1.28.8, by the race detector).
	client := kinesis.New(s.stream.client.Options())
	// The subscription lives as long as this context.
	ctx, s.cancel = context.WithCancel(ctx)
	silent := time.AfterFunc(s.stream.settings.AnswerWithin, s.cancel)
	out, err := client.SubscribeToShard(ctx, &kinesis.SubscribeToShardInput{
		ConsumerARN: &consumer, ShardId: &s.shard, StartingPosition: start,
	}, once)
	if !silent.Stop() {
		if err == nil {
			_ = out.GetStream().Close() // it has ended already
		}
		return errSilent
	}
	if err != nil {
		s.cancel()
		return err //nolint:wrapcheck // the reader wraps it, with the shard
	}
	s.events = out.GetStream()
	return nil
}

// next waits for the next event. They come at least every few seconds, without
// records while the shard is idle.
func (s *subscriber) next(ctx context.Context) (batch, error) {
	if s.events == nil {
		return batch{}, errRenew
	}
	silent := time.NewTimer(s.stream.settings.AnswerWithin)
	defer silent.Stop()
	select {
	case <-ctx.Done():
		return batch{}, ctx.Err()
	case <-silent.C:
		s.close()
		return batch{}, errSilent
	case event, more := <-s.events.Events():
		if !more {
			err := s.events.Err()
			s.close()
			if err == nil {
				return batch{}, errRenew // its five minutes are over
			}
			return batch{}, err //nolint:wrapcheck // the reader wraps it, with the shard
		}
		pushed, ours := event.(*types.SubscribeToShardEventStreamMemberSubscribeToShardEvent)
		if !ours {
			return batch{}, fmt.Errorf("an event of an unknown kind: %T", event)
		}
		return batchOf(pushed.Value), nil
	}
}

func batchOf(event types.SubscribeToShardEvent) batch {
	b := batch{
		answered: time.Now(), behind: time.Duration(aws.ToInt64(event.MillisBehindLatest)) * time.Millisecond,
		end: event.ContinuationSequenceNumber == nil,
	}
	for _, r := range event.Records {
		b.records = append(b.records, Record{
			Sequence: aws.ToString(r.SequenceNumber), Arrived: aws.ToTime(r.ApproximateArrivalTimestamp), Data: r.Data,
			Replayed: isReplayed(aws.ToString(r.PartitionKey)),
		})
	}
	for _, child := range event.ChildShards {
		b.children = append(b.children, aws.ToString(child.ShardId))
	}
	return b
}

func (s *subscriber) close() {
	if s.events != nil {
		s.cancel()
		_ = s.events.Close() // what it still had to say is read again
		s.events = nil
	}
}

// consumerPoll is how often a consumer that is being made is looked at.
const consumerPoll = time.Second

// consumer returns the ARN of a fan-out consumer, which it registers if it is
// not there.
func (s *Stream) consumer(ctx context.Context, name string) (string, error) {
	s.mu.Lock()
	known := s.consumers[name]
	s.mu.Unlock()
	if known != "" {
		return known, nil
	}
	_, err := s.client.RegisterStreamConsumer(ctx, &kinesis.RegisterStreamConsumerInput{StreamARN: &s.arn, ConsumerName: &name})
	var registered *types.ResourceInUseException
	if err != nil && !errors.As(err, &registered) {
		return "", fmt.Errorf("register the consumer %s: %w", name, err)
	}
	for {
		out, err := s.client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{StreamARN: &s.arn, ConsumerName: &name})
		if err != nil {
			return "", fmt.Errorf("describe the consumer %s: %w", name, err)
		}
		if out.ConsumerDescription.ConsumerStatus == types.ConsumerStatusActive {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.consumers[name] = aws.ToString(out.ConsumerDescription.ConsumerARN)
			return s.consumers[name], nil
		}
		if err := wait(ctx, time.Now().Add(consumerPoll)); err != nil {
			return "", err
		}
	}
}
