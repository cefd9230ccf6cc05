package workers

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/internal/config"
	"millrace/internal/index"
	"millrace/internal/ops"
)

// What a process depends on, as /readyz names it.
const (
	Kinesis       = "kinesis"
	SQS           = "sqs"
	S3            = "s3"
	Temporal      = "temporal"
	Elasticsearch = "elasticsearch"
	Shards        = "shards" // of the cluster's limit
	Files         = "files"  // of the file sink
	Starting      = "start"
)

// askAWS is how often AWS is asked for the sake of /readyz, of one process:
// DescribeStreamSummary is answered 20 times a second for a whole account
// (Kinesis API reference).
const askAWS = 15 * time.Second

// askRoom is how often a process asks for the cluster's room: it is full after
// days, and not minutes.
const askRoom = time.Minute

// Room looks whether the cluster comes near its limit of shards, where no index is
// made any more.
func Room(ask func(context.Context) (index.Room, error)) ops.Check {
	return ops.Seldom(askRoom, func(ctx context.Context) error {
		room, err := ask(ctx)
		if err == nil && room.Full() {
			err = fmt.Errorf("the cluster has %d of %d shards: delete old indices, raise cluster.max_shards_per_node, or add nodes", room.Used, room.Limit)
		}
		return err
	})
}

// Checks look for stream, queues and buckets, by name and afresh: what is missing
// or not allowed is named, too.
func Checks(cfg aws.Config, names config.Resources) map[string]ops.Check {
	streams, queues, buckets := kinesis.NewFromConfig(cfg), sqs.NewFromConfig(cfg), config.S3(cfg)
	return map[string]ops.Check{
		Kinesis: ops.Seldom(askAWS, func(ctx context.Context) error {
			if _, err := streams.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: &names.Stream}); err != nil {
				return fmt.Errorf("look for stream %s: %w", names.Stream, err)
			}
			return nil
		}),
		SQS: ops.Seldom(askAWS, func(ctx context.Context) error {
			for _, name := range []string{names.Queue, names.DeadLetters} {
				if _, err := queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name}); err != nil {
					return fmt.Errorf("look for queue %s: %w", name, err)
				}
			}
			return nil
		}),
		S3: ops.Seldom(askAWS, func(ctx context.Context) error {
			for _, name := range slices.Compact([]string{names.Bucket, names.BackupBucket()}) {
				if _, err := buckets.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name}); err != nil {
					return fmt.Errorf("look for bucket %s: %w", name, err)
				}
			}
			return nil
		}),
	}
}
