package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Limits of SQS (developer guide, 'Amazon SQS message quotas').
const (
	MaxBatch      = 10 // entries of a SendMessageBatch, messages of a ReceiveMessage
	maxWait       = 20 * time.Second
	maxVisibility = 12 * time.Hour

	// leastVisibility is for receiving: none at all would mean the queue's own.
	leastVisibility = time.Second

	// leastLimit is how long a message may be where the queue does not say:
	// every service took that before AWS raised it to 1 MiB.
	leastLimit = 256 << 10
)

// Retention is how long the queues keep a message: the most that SQS offers.
const Retention = 14 * 24 * time.Hour

// Bounds of the SDK's own retries. The callers try again anyway, and have
// other places to go to.
const (
	attempts = 3
	backoff  = time.Second
)

func bounded(o *sqs.Options) {
	o.Retryer = retry.AddWithMaxAttempts(retry.AddWithMaxBackoffDelay(o.Retryer, backoff), attempts)
}

// Create makes a queue, unless it is there, and sets its retention. It has no
// redrive policy: what is in it leaves only by being taken care of.
func Create(ctx context.Context, client *sqs.Client, name string) error {
	// Without attributes, since a queue that has others would be an error.
	created, err := client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		return fmt.Errorf("create queue %s: %w", name, err)
	}
	_, err = client.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{
		QueueUrl:   created.QueueUrl,
		Attributes: map[string]string{string(types.QueueAttributeNameMessageRetentionPeriod): seconds(Retention)},
	})
	if err != nil {
		return fmt.Errorf("set the retention of queue %s: %w", name, err)
	}
	return nil
}

// queue is what both kinds of queues do alike.
type queue struct {
	client *sqs.Client
	name   string
	at     atomic.Pointer[string] // its URL, once SQS has said it
	limit  atomic.Int64           // bytes of a message, and of a batch
}

// named is a queue that is looked for when it is first used: SQS may be away
// when a process starts.
func named(client *sqs.Client, name string) *queue {
	q := &queue{client: client, name: name}
	q.limit.Store(leastLimit)
	return q
}

// open is named, for those who want to know at once that it is there.
func open(ctx context.Context, client *sqs.Client, name string) (*queue, error) {
	q := named(client, name)
	_, err := q.url(ctx)
	return q, err
}

// url asks SQS where the queue is, until it has answered once. The error wraps
// QueueDoesNotExist where there is none.
func (q *queue) url(ctx context.Context) (*string, error) {
	if at := q.at.Load(); at != nil {
		return at, nil
	}
	found, err := q.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &q.name}, bounded)
	if err != nil {
		return nil, fmt.Errorf("find queue %s: %w", q.name, err)
	}
	if err := q.readLimit(ctx, found.QueueUrl); err != nil {
		return nil, err
	}
	q.at.Store(found.QueueUrl)
	return found.QueueUrl, nil
}

// readLimit asks how long a message may be.
func (q *queue) readLimit(ctx context.Context, url *string) error {
	const size = types.QueueAttributeNameMaximumMessageSize
	out, err := q.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: url, AttributeNames: []types.QueueAttributeName{size},
	}, bounded)
	if err != nil {
		return fmt.Errorf("read the attributes of queue %s: %w", q.name, err)
	}
	limit, err := strconv.ParseInt(out.Attributes[string(size)], 10, 64)
	if err != nil || limit <= 0 {
		limit = leastLimit
	}
	q.limit.Store(limit)
	return nil
}

// seconds is a duration as SQS takes it. It rounds up: a message must not
// become visible before it was meant to.
func seconds(d time.Duration) string { return strconv.Itoa(int(wholeSeconds(d))) }

func wholeSeconds(d time.Duration) int32 {
	return int32((max(d, 0) + time.Second - 1) / time.Second)
}

// code returns the service's error code, or codeUnavailable where it did not
// answer.
func code(err error) string {
	var answered interface{ ErrorCode() string }
	if errors.As(err, &answered) {
		return answered.ErrorCode()
	}
	return codeUnavailable
}
