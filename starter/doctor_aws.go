package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	kinesistypes "github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/queue"
)

func (e *exam) awsChecks() []check {
	const group = "aws"
	all := []check{
		{group: group, name: "credentials", do: "set AWS_REGION, and AWS_PROFILE or other credentials", look: e.credentials},
		{group: group, name: "stream", do: helpAWS, look: e.streamThere},
		{group: group, name: "stream reads", do: "allow kinesis:GetShardIterator and kinesis:GetRecords", look: e.streamReads},
		{group: group, name: "stream of the workers", do: helpServer, look: e.streamOfWorkers},
		{group: group, name: "fallback queue", do: helpAWS, look: e.queueThere(&e.fallback, e.names.Queue, "--queue")},
		{group: group, name: "dead-letter queue", do: helpAWS, look: e.queueThere(&e.deadQueue, e.names.DeadLetters, "--dlq")},
		{group: group, name: "bucket", do: helpAWS, look: e.bucketThere(&e.bucket, e.names.Bucket, "--bucket")},
	}
	if backup := e.names.BackupBucket(); backup != e.names.Bucket {
		all = append(all, check{group: group, name: "backup bucket", do: helpAWS, look: e.bucketThere(&e.backup, backup, "--backup-bucket")})
	}
	return all
}

func (e *exam) credentials(ctx context.Context) (verdict, error) {
	cfg, err := e.aws.report(ctx)
	if err != nil {
		return verdict{}, err
	}
	return fine("region %s", cfg.Region), nil
}

// makeOr is what to do about something that is not there.
func makeOr(flag string) string { return "starter setup, or correct " + flag }

func (e *exam) streamThere(ctx context.Context) (verdict, error) {
	s, err := e.stream.report(ctx)
	if missing := (*kinesistypes.ResourceNotFoundException)(nil); errors.As(err, &missing) {
		return fail(makeOr("--stream"), "there is no stream %s", e.names.Stream), nil
	}
	if err != nil {
		return verdict{}, err
	}
	shards, err := s.Shards(ctx)
	if err != nil {
		return verdict{}, err
	}
	open := 0
	for _, shard := range shards {
		if shard.Last == "" {
			open++
		}
	}
	return fine("open shards of %s: %d", s.Name(), open), nil
}

func (e *exam) streamReads(ctx context.Context) (verdict, error) {
	s, err := e.stream.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	shards, err := s.Shards(ctx)
	if err != nil {
		return verdict{}, err
	}
	for _, shard := range shards {
		if shard.Last == "" {
			return fine("these credentials can read %s", shard.ID), s.MayRead(ctx, shard.ID)
		}
	}
	return warn("aws kinesis describe-stream-summary --stream-name "+s.Name(), "no shard of it is open"), nil
}

// streamOfWorkers looks whether the workers read the stream that is there now.
func (e *exam) streamOfWorkers(ctx context.Context) (verdict, error) {
	s, err := e.stream.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	status, err := statusOfStream(ctx, c, e.names)
	if err != nil || status.Stream.Created.IsZero() {
		return skip("ProcessStream does not say which it reads: see task queues and workflows"), nil //nolint:nilerr // another check reports it
	}
	if !status.Stream.Created.Equal(s.Created()) {
		return fail("look whether workers and starter use the same AWS account, region and AWS_ENDPOINT_URL; a stream that was made anew is noticed within seconds",
			"they read a stream that was created at %s, and %s was at %s", clock(status.Stream.Created), s.Name(), clock(s.Created())), nil
	}
	return fine("they read %s, created at %s", s.Name(), clock(s.Created())), nil
}

func (e *exam) queueThere(q *asked[queue.Attributes], name, flag string) func(context.Context) (verdict, error) {
	return func(ctx context.Context) (verdict, error) {
		_, err := q.report(ctx)
		if missing := (*sqstypes.QueueDoesNotExist)(nil); errors.As(err, &missing) {
			return fail(makeOr(flag), "there is no queue %s", name), nil
		}
		return fine("%s", name), err
	}
}

// bucketThere tries what workers do with objects. Into a backup that a Firehose writes, they do not write.
func (e *exam) bucketThere(rights *asked[archive.Rights], name, flag string) func(context.Context) (verdict, error) {
	return func(ctx context.Context) (verdict, error) {
		has, err := rights.report(ctx)
		if missing := (*s3types.NoSuchBucket)(nil); errors.As(err, &missing) {
			return fail(makeOr(flag), "there is no bucket %s", name), nil
		}
		if err := errors.Join(err, has.Read); err != nil {
			return verdict{}, err
		}
		err = errors.Join(has.Write, has.Delete)
		if err != nil && rights == &e.backup {
			return warn("allow s3:PutObject and s3:DeleteObject, unless a Firehose writes the backup", "%s", detailOf(err)), nil
		}
		return fine("these credentials can list, read, write and delete objects of %s", name), err
	}
}

// objects is the bucket, for checks of what is in it.
func (e *exam) objects(ctx context.Context) (*archive.Bucket, error) {
	if _, err := e.bucket.need(ctx); err != nil {
		return nil, err
	}
	cfg, err := e.aws.need(ctx)
	if err != nil {
		return nil, err
	}
	return archive.Open(config.S3(cfg), e.names.Bucket), nil
}

// Shares of the stream's retention that a shard may lag behind.
const (
	lagWarns = 0.5 // when copies of what batches hold are written
	lagFails = 0.9
)

func (e *exam) retentionChecks() []check {
	const group = "retention"
	return []check{
		{group: group, name: "stream", do: "starter shards", look: e.streamRetention},
		{group: group, name: "fallback queue", do: helpAWS, look: e.queueRetention(&e.fallback, e.names.Queue)},
		{group: group, name: "redrive policy", do: helpAWS, look: e.redrivePolicy},
		{group: group, name: "dead-letter queue", do: helpAWS, look: e.queueRetention(&e.deadQueue, e.names.DeadLetters)},
	}
}

// streamRetention compares the stream's retention with the lag of the shard that is furthest behind.
func (e *exam) streamRetention(ctx context.Context) (verdict, error) {
	s, err := e.stream.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	kept := s.Retention()
	c, err := e.temporal.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	all, err := findShards(ctx, c, e.names)
	if err != nil {
		return skip(fmt.Sprintf("it keeps records for %v, and ProcessStream does not say how far its shards are: see task queues and workflows", kept)), nil //nolint:nilerr // another check reports it
	}
	statuses, err := all.statuses(ctx)
	if err != nil {
		return verdict{}, err
	}
	var lag time.Duration
	behind := ""
	for _, status := range statuses {
		at := status.Checkpoint
		if at.ReadUpTo.IsZero() || at.Closed {
			continue
		}
		if of := time.Since(at.ReadUpTo); of > lag { // not what the shard says: no worker may read it any more
			lag, behind = of, status.Shard
		}
	}
	longer := fmt.Sprintf("aws kinesis increase-stream-retention-period --stream-name %s --retention-period-hours %d", s.Name(), int64(min(2*kept.Hours(), longestRetentionHours)))
	detail := fmt.Sprintf("it keeps records for %v, and %s is %v behind", kept, behind, lag.Round(time.Second))
	switch share := lag.Seconds() / kept.Seconds(); {
	case behind == "":
		return fine("it keeps records for %v, and no shard is behind", kept), nil
	case share > lagFails:
		return fail(longer, "%s", detail), nil
	case share > lagWarns:
		return warn(longer, "%s", detail), nil
	}
	return fine("%s", detail), nil
}

func (e *exam) queueRetention(q *asked[queue.Attributes], name string) func(context.Context) (verdict, error) {
	return func(ctx context.Context) (verdict, error) {
		attributes, err := q.need(ctx)
		if err != nil {
			return verdict{}, err
		}
		if attributes.Retention < queue.Retention {
			return warn("starter setup", "%s keeps messages for %v, not for %v", name, attributes.Retention, queue.Retention), nil
		}
		return fine("%s keeps messages for %v", name, attributes.Retention), nil
	}
}

func (e *exam) redrivePolicy(ctx context.Context) (verdict, error) {
	attributes, err := e.fallback.need(ctx)
	if err != nil {
		return verdict{}, err
	}
	if policy := strings.TrimSpace(attributes.RedrivePolicy); policy != "" {
		return fail(fmt.Sprintf(`aws sqs set-queue-attributes --queue-url %s --attributes '{"RedrivePolicy":""}'`, attributes.URL),
			"SQS moves messages of %s away after some attempts: %s", e.names.Queue, policy), nil
	}
	return fine("%s has none", e.names.Queue), nil
}
