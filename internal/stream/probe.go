package stream

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
)

// MayRead reports whether a shard can be read, by asking for one record at its tip. That is one of
// the five reads a second that a shard allows to all its readers together.
func (s *Stream) MayRead(ctx context.Context, shard string) error {
	at, err := s.client.GetShardIterator(ctx, &kinesis.GetShardIteratorInput{
		StreamName: &s.name, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeLatest,
	})
	if err == nil {
		_, err = s.client.GetRecords(ctx, &kinesis.GetRecordsInput{ShardIterator: at.ShardIterator, Limit: aws.Int32(1)})
	}
	if err != nil {
		return fmt.Errorf("read shard %s of %s: %w", shard, s.name, err)
	}
	return nil
}
