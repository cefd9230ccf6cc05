package stream

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// ShortestRetention is the least that Kinesis keeps a record, and what a new
// stream has (API reference of IncreaseStreamRetentionPeriod).
const ShortestRetention = 24 * time.Hour

// activeWithin bounds the time that a stream may take to be usable; AWS needs
// some seconds.
const activeWithin = 5 * time.Minute

// Create makes a stream with that many shards, waits until it can be used, and
// reports whether it was not there before. A stream that is there keeps its
// shards. Its retention is made longer if it is shorter, and never shorter:
// that would delete records that are not read yet.
func Create(ctx context.Context, client *kinesis.Client, name string, shards int, retention time.Duration) (created bool, err error) {
	if shards < 1 || shards > math.MaxInt32 {
		return false, fmt.Errorf("create stream %s: %d shards", name, shards)
	}
	var missing *types.ResourceNotFoundException
	_, err = client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &name})
	if errors.As(err, &missing) {
		_, err = client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &name, ShardCount: aws.Int32(int32(shards))})
		created = err == nil
		// Another process may be doing the same.
		if inUse := (*types.ResourceInUseException)(nil); errors.As(err, &inUse) {
			err = nil
		}
	}
	if err != nil {
		return false, fmt.Errorf("create stream %s: %w", name, err)
	}
	if err := awaitActive(ctx, client, name); err != nil {
		return created, err
	}
	return created, keepFor(ctx, client, name, retention)
}

func awaitActive(ctx context.Context, client *kinesis.Client, name string) error {
	waiter := kinesis.NewStreamExistsWaiter(client, func(o *kinesis.StreamExistsWaiterOptions) {
		o.MinDelay, o.MaxDelay = 200*time.Millisecond, 5*time.Second
	})
	if err := waiter.Wait(ctx, &kinesis.DescribeStreamInput{StreamName: &name}, activeWithin); err != nil {
		return fmt.Errorf("wait until stream %s is active: %w", name, err)
	}
	return nil
}

// keepFor makes the retention of a stream at least that long.
func keepFor(ctx context.Context, client *kinesis.Client, name string, retention time.Duration) error {
	out, err := client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &name})
	if err != nil {
		return fmt.Errorf("describe stream %s: %w", name, err)
	}
	hours := int32(math.Ceil(max(retention, ShortestRetention).Hours()))
	if aws.ToInt32(out.StreamDescriptionSummary.RetentionPeriodHours) >= hours {
		return nil
	}
	_, err = client.IncreaseStreamRetentionPeriod(ctx, &kinesis.IncreaseStreamRetentionPeriodInput{
		StreamName: &name, RetentionPeriodHours: &hours,
	})
	if err != nil {
		return fmt.Errorf("keep the records of stream %s for %d hours: %w", name, hours, err)
	}
	return awaitActive(ctx, client, name) // it is being updated for a while
}
