package workers

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/activities"
	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/intake"
	"millrace/internal/ledger"
	"millrace/internal/queue"
	"millrace/internal/stream"
)

// Backends are what records go through in AWS.
type Backends struct {
	Bucket      *archive.Bucket
	Backups     *archive.Bucket // the one that the backup is in
	Stream      *stream.Stream
	Fallback    *queue.Fallback
	DeadLetters *queue.DeadLetters
	Ledger      *ledger.Ledger
	Morgue      *activities.Morgue
	Intake      *intake.Intake
	S3          *s3.Client
}

// overflowPrefix is where in the bucket lies what is too large for a message.
const overflowPrefix = "overflow/"

// OpenBackends finds stream, queues and bucket.
func OpenBackends(ctx context.Context, cfg aws.Config, names config.Resources, settings stream.Settings) (*Backends, error) {
	client := config.S3(cfg)
	bucket := archive.Open(client, names.Bucket)
	queues := sqs.NewFromConfig(cfg)
	b := &Backends{Bucket: bucket, Backups: archive.Open(client, names.BackupBucket()), S3: client}
	var err error
	if b.Stream, err = stream.Open(ctx, kinesis.NewFromConfig(cfg), names.Stream, settings); err != nil {
		return nil, err
	}
	if b.Fallback, err = queue.OpenFallback(ctx, queues, names.Queue, bucket.Under(overflowPrefix)); err != nil {
		return nil, err
	}
	if b.DeadLetters, err = queue.OpenDeadLetters(ctx, queues, names.DeadLetters); err != nil {
		return nil, err
	}
	b.Ledger = ledger.New(bucket, names.Stream)
	b.Morgue = activities.NewMorgue(b.Ledger, b.DeadLetters)
	b.Intake = intake.New(b.Stream, b.Fallback, b.Morgue, 0)
	return b, nil
}

// StreamID tells the stream from every other one.
func (b *Backends) StreamID() activities.StreamID {
	return activities.StreamID{Name: b.Stream.Name(), ARN: b.Stream.ARN(), Created: b.Stream.Created()}
}

// retryEvery is how long a process that starts waits for what it depends on
// before it looks again.
const retryEvery = 2 * time.Second

// Insist repeats a step of starting up until it succeeds: what a process
// depends on may start later, or be away for a while. It fails only when ctx
// ends.
func Insist(ctx context.Context, what, advice string, step func(ctx context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*retryEvery)
		err := step(attempt)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		slog.Warn("not possible yet, trying again", "step", what, "error", err, "advice", advice)
		select {
		case <-ctx.Done():
		case <-time.After(retryEvery):
		}
	}
}

// recoveryPuts bounds the batches that reprocessing puts at the same time.
const recoveryPuts = 2

// NewIntake makes a way into the stream for records that are already safe in
// the ledger: what the stream will never take, the graveyard is told.
func (b *Backends) NewIntake(g intake.Graveyard) activities.Intake {
	return intake.New(b.Stream, b.Fallback, g, recoveryPuts)
}
