package stream

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/internal/container"
)

// mostLooks is how many pages ContainerSince reads of a shard: several minutes of all that it takes, 10 MiB a page (API
// reference of GetRecords).
const mostLooks = 50

// ContainerSince returns when a container came into a shard, the first of those that have come since a time; zero if none has.
// It takes reads from the shard's quota. That it could not read up to now is an error.
func (s *Stream) ContainerSince(ctx context.Context, shard string, since time.Time) (arrived time.Time, err error) {
	now := time.Now()
	at, err := s.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &s.name, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: &since,
	})
	if err != nil {
		return arrived, fmt.Errorf("get an iterator of shard %s: %w", shard, err)
	}
	next := at.ShardIterator
	for range mostLooks {
		if next == nil { // it is closed, and read
			return arrived, nil
		}
		page, err := s.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
		if err != nil {
			return arrived, fmt.Errorf("read shard %s: %w", shard, err)
		}
		for _, r := range page.Records {
			arrived := aws.ToTime(r.ApproximateArrivalTimestamp)
			if container.FormOf(r.Data) != container.Single {
				return arrived, nil
			}
			if arrived.After(now) { // the next look reads what came after this one began
				return time.Time{}, nil
			}
		}
		if len(page.Records) == 0 && aws.ToInt64(page.MillisBehindLatest) == 0 {
			return arrived, nil
		}
		next = page.NextShardIterator
	}
	return arrived, fmt.Errorf("read shard %s: more has come than can be looked at", shard)
}
