package workers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/activities/deadletters"
	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/deadletter"
	"millrace/internal/intake"
	"millrace/internal/ledger"
	"millrace/internal/ops"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Backends are what records go through in AWS. Each part is looked for when it
// is first used, but for the stream.
type Backends struct {
	Bucket          *archive.Bucket
	Backups         *archive.Bucket // the one that the backup is in
	Stream          *stream.Stream  // nil until FindStream has found it
	Fallback        *queue.Fallback
	DeadLetterQueue *queue.DeadLetters
	Ledger          *ledger.Ledger
	DeadLetters     *deadletter.Writer
	Intake          *intake.Writer // works without the stream, too: into the queue
	S3              *s3.Client

	find  func(ctx context.Context) (*stream.Stream, error)
	entry *streamEntry
}

// overflowPrefix is where in the bucket lies what is too large for a message.
const overflowPrefix = "overflow/"

// NewBackends returns what records go through. Nothing is asked yet, so that a
// process may start while any of it is away.
func NewBackends(cfg aws.Config, names config.Resources, settings stream.Settings) *Backends {
	client, queues, streams := config.S3(cfg), sqs.NewFromConfig(cfg), kinesis.NewFromConfig(cfg)
	bucket := archive.Open(client, names.Bucket)
	b := &Backends{
		Bucket: bucket, Backups: archive.Open(client, names.BackupBucket()), S3: client,
		Fallback:        queue.NewFallback(queues, names.Queue, bucket.Under(overflowPrefix)),
		DeadLetterQueue: queue.NewDeadLetters(queues, names.DeadLetters),
		Ledger:          ledger.New(bucket, names.Stream),
		find: func(ctx context.Context) (*stream.Stream, error) {
			return stream.Open(ctx, streams, names.Stream, settings)
		},
		entry: &streamEntry{},
	}
	b.DeadLetters = deadletter.NewWriter(b.Ledger, b.DeadLetterQueue)
	b.Intake = intake.New(b.entry, b.Fallback, b.DeadLetters, 0)
	return b
}

// FindStream looks for the stream once. Only what is begun after it has returned
// nil may use Stream.
func (b *Backends) FindStream(ctx context.Context) error {
	found, err := b.find(ctx)
	if err != nil {
		return err
	}
	b.Stream = found
	b.entry.found.Store(found)
	return nil
}

// CheckStream is a check that also fails until the stream is found: that
// it answers is not enough to put records into it.
func (b *Backends) CheckStream(answers ops.Check) ops.Check {
	return func(ctx context.Context) error {
		if err := answers(ctx); err != nil {
			return err
		}
		if b.entry.found.Load() == nil {
			return errNotFoundYet
		}
		return nil
	}
}

var errNotFoundYet = errors.New("the stream has not been found yet")

// streamEntry is the stream for those who put records, also before it is found:
// until then it takes nothing, as in an outage.
type streamEntry struct{ found atomic.Pointer[stream.Stream] }

// Put implements intake.Stream.
func (e *streamEntry) Put(ctx context.Context, records [][]byte) []stream.Rejection {
	if found := e.found.Load(); found != nil {
		return found.Put(ctx, records)
	}
	rejections := make([]stream.Rejection, len(records))
	for at := range records {
		rejections[at] = stream.Rejection{Position: at, Code: stream.CodeUnavailable, Message: errNotFoundYet.Error()}
	}
	return rejections
}

// OpenBackends is NewBackends, and waits for the stream's answer.
func OpenBackends(ctx context.Context, cfg aws.Config, names config.Resources, settings stream.Settings) (*Backends, error) {
	b := NewBackends(cfg, names, settings)
	return b, b.FindStream(ctx)
}

// StreamID tells the stream from every other one.
func (b *Backends) StreamID() telemetry.StreamID {
	return telemetry.StreamID{Name: b.Stream.Name(), ARN: b.Stream.ARN(), Created: b.Stream.Created()}
}

// retryEvery is how long a process that starts waits for what it depends on
// before it looks again.
const retryEvery = 2 * time.Second

// RetryUntilDone repeats a step of starting up until it succeeds: what a process
// depends on may start later, or be away for a while. It fails only when ctx
// ends.
func RetryUntilDone(ctx context.Context, what, advice string, step func(ctx context.Context) error) error {
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
// the ledger: what the stream will never take, d is told.
func (b *Backends) NewIntake(d intake.DeadLetters) deadletters.Writer {
	return intake.New(b.Stream, b.Fallback, d, recoveryPuts)
}
