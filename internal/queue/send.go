package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// codeUnavailable is the code of failures without an answer.
const codeUnavailable = "Unavailable"

// entryError is why the queue did not take one entry of a batch.
type entryError struct {
	code, message string
	ours          bool // the entry is at fault, not the service
}

func (e *entryError) Error() string { return e.code + ": " + e.message }

// ErrorCode is how the SDK's errors tell their code.
func (e *entryError) ErrorCode() string { return e.code }

// send sends messages in batches within the limits of SQS, each once, and
// says of every one why it was not taken; nil is taken.
func (q *queue) send(ctx context.Context, bodies []string) []error {
	errs := make([]error, len(bodies))
	url, err := q.url(ctx)
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	limit := int(q.limit.Load())
	for from := 0; from < len(bodies); {
		to, size := from, 0
		for to < len(bodies) && to < from+MaxBatch && (to == from || size+len(bodies[to]) <= limit) {
			size += len(bodies[to])
			to++
		}
		q.sendBatch(ctx, url, bodies[from:to], errs[from:to])
		from = to
	}
	if tooLong(errs) {
		// An operator may have lowered the limit. If this fails, the next attempt does, too.
		_ = q.readLimit(ctx, url)
	}
	return errs
}

func (q *queue) sendBatch(ctx context.Context, url *string, bodies []string, errs []error) {
	in := &sqs.SendMessageBatchInput{QueueUrl: url}
	for i, body := range bodies {
		errs[i] = &entryError{code: codeUnavailable, message: "the answer has no entry for it"}
		in.Entries = append(in.Entries, types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String(body)})
	}
	out, err := q.client.SendMessageBatch(ctx, in, bounded)
	if err != nil {
		for i := range errs {
			errs[i] = fmt.Errorf("send messages: %w", err)
		}
		return
	}
	at := func(id *string) (int, bool) {
		i, err := strconv.Atoi(aws.ToString(id))
		return i, err == nil && i >= 0 && i < len(errs)
	}
	for _, entry := range out.Successful {
		// Without a message id there is no evidence that it was stored.
		if i, known := at(entry.Id); known && aws.ToString(entry.MessageId) != "" {
			errs[i] = nil
		}
	}
	for _, entry := range out.Failed {
		if i, known := at(entry.Id); known {
			errs[i] = &entryError{code: aws.ToString(entry.Code), message: aws.ToString(entry.Message), ours: entry.SenderFault}
		}
	}
}

// tooLong reports whether messages may have been refused for their length.
func tooLong(errs []error) bool {
	for _, err := range errs {
		var batch *types.BatchRequestTooLong
		var entry *entryError
		if errors.As(err, &batch) || errors.As(err, &entry) && entry.ours {
			return true
		}
	}
	return false
}
