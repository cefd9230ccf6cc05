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

// mostLooks is how many pages LastContainer reads of a shard.
const mostLooks = 20

// LastContainer returns when the last container came into a shard, of those that have come since a time; zero if none has. It
// takes reads from the shard's quota. The error wraps the service's.
func (s *Stream) LastContainer(ctx context.Context, shard string, since time.Time) (last time.Time, err error) {
	ctx, cancel := s.awaiting(ctx)
	defer cancel()
	at, err := s.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &s.name, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeAtTimestamp, Timestamp: &since,
	})
	if err != nil {
		return last, fmt.Errorf("get an iterator of shard %s: %w", shard, err)
	}
	next := at.ShardIterator
	for looks := 0; next != nil && looks < mostLooks; looks++ {
		page, err := s.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: next})
		if err != nil {
			return last, fmt.Errorf("read shard %s: %w", shard, err)
		}
		for _, r := range page.Records {
			if container.FormOf(r.Data) != container.Single {
				last = aws.ToTime(r.ApproximateArrivalTimestamp)
			}
		}
		if len(page.Records) == 0 && aws.ToInt64(page.MillisBehindLatest) == 0 {
			break
		}
		next = page.NextShardIterator
	}
	return last, nil
}
