package queue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Letter is a message of the dead-letter queue that was received, and is held
// until its visibility timeout ends.
type Letter struct {
	ID   string
	Sent time.Time
	DeadLetter
	// Damaged says why DeadLetter is empty. It wraps ErrNotDeadLetter.
	Damaged error

	handle string
}

// Receive waits up to wait (at most 20 s) for letters and returns up to limit
// of them (at most 10), hidden from others for visibility. None is no error.
func (d *DeadLetters) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]Letter, error) {
	url, err := d.url(ctx)
	if err != nil {
		return nil, err
	}
	out, err := d.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:                    url,
		MaxNumberOfMessages:         int32(min(max(limit, 1), MaxBatch)),
		WaitTimeSeconds:             wholeSeconds(min(wait, maxWait)),
		VisibilityTimeout:           wholeSeconds(min(max(visibility, leastVisibility), maxVisibility)),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameSentTimestamp},
	}, bounded)
	if err != nil {
		return nil, fmt.Errorf("receive from queue %s: %w", d.name, err)
	}
	letters := make([]Letter, len(out.Messages))
	for i, got := range out.Messages {
		l := &letters[i]
		l.ID, l.handle = aws.ToString(got.MessageId), aws.ToString(got.ReceiptHandle)
		if sent, err := strconv.ParseInt(got.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
			l.Sent = time.UnixMilli(sent).UTC()
		}
		l.DeadLetter, l.Damaged = ParseDeadLetter([]byte(aws.ToString(got.Body)))
		countReceived(l.Damaged)
	}
	return letters, nil
}

// Hide hides a letter from now on for as long as visibility; zero shows it to
// others at once. The error wraps ErrNotHeld when another receiver holds it.
func (d *DeadLetters) Hide(ctx context.Context, l Letter, visibility time.Duration) error {
	url, err := d.url(ctx)
	if err != nil {
		return err
	}
	_, err = d.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: url, ReceiptHandle: &l.handle, VisibilityTimeout: wholeSeconds(min(visibility, maxVisibility)),
	}, bounded)
	if err != nil {
		return fmt.Errorf("hide letter %s of queue %s: %w", l.ID, d.name, notHeld(err))
	}
	return nil
}

// Delete removes a letter. The error wraps ErrNotHeld when another receiver
// holds it, and will delete it.
func (d *DeadLetters) Delete(ctx context.Context, l Letter) error {
	url, err := d.url(ctx)
	if err != nil {
		return err
	}
	if _, err := d.client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: &l.handle}, bounded); err != nil {
		return fmt.Errorf("delete letter %s of queue %s: %w", l.ID, d.name, notHeld(err))
	}
	return nil
}
