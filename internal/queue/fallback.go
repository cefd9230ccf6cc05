package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"millrace/internal/pack"
)

// maxPlain bounds in bytes what one message holds before compression: a shard
// takes that in a few seconds, well within a visibility timeout.
const maxPlain = 4 << 20

// Overflow keeps what does not fit into a message. The error of Get is
// fs.ErrNotExist where there is nothing. See archive.Bucket.
type Overflow interface {
	Put(ctx context.Context, key string, body []byte) error
	Get(ctx context.Context, key string) ([]byte, error)
	Delete(ctx context.Context, key string) error
}

// Fallback is the queue for records that the stream does not take. It is safe
// for concurrent use.
type Fallback struct {
	*queue
	overflow Overflow
}

// NewFallback returns the queue of that name, which is looked for when it is
// first used. Until it is found, everything fails as in an outage.
func NewFallback(client *sqs.Client, name string, o Overflow) *Fallback {
	return &Fallback{queue: named(client, name), overflow: o}
}

// OpenFallback finds the queue of that name. The error wraps SQS's
// QueueDoesNotExist where there is none.
func OpenFallback(ctx context.Context, client *sqs.Client, name string, o Overflow) (*Fallback, error) {
	q, err := open(ctx, client, name)
	if err != nil {
		return nil, err
	}
	return &Fallback{queue: q, overflow: o}, nil
}

// Name returns the queue's name.
func (f *Fallback) Name() string { return f.name }

// Send makes one attempt to put every record into the queue and returns the
// positions of those that were not taken, in order, with the reason of the
// first. Records whose answer was lost may be there all the same.
func (f *Fallback) Send(ctx context.Context, records [][]byte) (rest []int, err error) {
	parcels := f.parcels(records)
	bodies, at := make([]string, 0, len(parcels)), make([]int, 0, len(parcels))
	for i := range parcels {
		if f.write(ctx, &parcels[i]); parcels[i].err == nil {
			bodies, at = append(bodies, parcels[i].text), append(at, i)
		}
	}
	for n, refused := range f.send(ctx, bodies) {
		parcels[at[n]].err = refused
	}
	for _, p := range parcels {
		p.count()
		if p.err == nil {
			continue
		}
		if err == nil {
			err = p.err
		}
		for position := p.from; position < p.to; position++ {
			rest = append(rest, position)
		}
	}
	if err != nil {
		return rest, fmt.Errorf("send %d of %d records to queue %s: %w", len(rest), len(records), f.name, err)
	}
	return nil, nil
}

// parcel is a run of records on its way into one message.
type parcel struct {
	from, to int // positions
	text     string
	overflow string // key, if blob has to go to S3
	blob     []byte
	err      error
}

// parcels divides records into runs that fit into a message each, or are one
// record too large for any.
func (f *Fallback) parcels(records [][]byte) (all []parcel) {
	for from := 0; from < len(records); {
		to, size := from, 0
		for to < len(records) && (to == from || size+len(records[to]) <= maxPlain) {
			size += len(records[to])
			to++
		}
		all = f.fit(all, records, from, to)
		from = to
	}
	return all
}

// fit halves a run until its pieces fit.
func (f *Fallback) fit(all []parcel, records [][]byte, from, to int) []parcel {
	blob := pack.Pack(records[from:to])
	text, err := body{Records: to - from, Pack: blob}.encode()
	if err == nil && len(text) > int(f.limit.Load()) {
		if to-from > 1 {
			middle := from + (to-from)/2
			return f.fit(f.fit(all, records, from, middle), records, middle, to)
		}
		p := parcel{from: from, to: to, overflow: time.Now().UTC().Format("2006/01/02/") + rand.Text(), blob: blob}
		p.text, p.err = body{Records: 1, Overflow: p.overflow}.encode()
		return append(all, p)
	}
	return append(all, parcel{from: from, to: to, text: text, err: err})
}

// write puts what a parcel has for S3 there, before its message is sent.
func (f *Fallback) write(ctx context.Context, p *parcel) {
	if p.err != nil || p.overflow == "" {
		return
	}
	if err := f.overflow.Put(ctx, p.overflow, p.blob); err != nil {
		p.err = fmt.Errorf("write the overflow of a message: %w", err)
	}
}

// Receive waits up to wait (at most 20 s) for messages and returns up to limit
// of them (at most 10), hidden from others for visibility. None is no error. What
// cannot be read, and never could, is a message with Damaged set. A message
// whose overflow object cannot be read at present is left out: it comes again
// after its visibility timeout; the error says why if there is no other one.
func (f *Fallback) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]Message, error) {
	url, err := f.url(ctx)
	if err != nil {
		return nil, err
	}
	out, err := f.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl:            url,
		MaxNumberOfMessages: int32(min(max(limit, 1), MaxBatch)),
		WaitTimeSeconds:     wholeSeconds(min(wait, maxWait)),
		VisibilityTimeout:   wholeSeconds(min(max(visibility, leastVisibility), maxVisibility)),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameSentTimestamp,
		},
	}, bounded)
	if err != nil {
		return nil, fmt.Errorf("receive from queue %s: %w", f.name, err)
	}
	var messages []Message
	for _, got := range out.Messages {
		m, failed := f.open(ctx, got)
		if failed != nil {
			receivedMessages.WithLabelValues("unreadable").Inc()
			err = failed
			continue
		}
		m.count()
		messages = append(messages, m)
	}
	if len(messages) > 0 {
		return messages, nil
	}
	return nil, err
}

// open reads what SQS delivered. It fails where another time may not.
func (f *Fallback) open(ctx context.Context, got types.Message) (Message, error) {
	m := Message{ID: aws.ToString(got.MessageId), handle: aws.ToString(got.ReceiptHandle)}
	m.ReceiveCount, _ = strconv.Atoi(got.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
	if sent, err := strconv.ParseInt(got.Attributes[string(types.MessageSystemAttributeNameSentTimestamp)], 10, 64); err == nil {
		m.Sent = time.UnixMilli(sent)
	}
	b, err := decode(aws.ToString(got.Body))
	if err == nil {
		m.overflow = b.Overflow
		blob := b.Pack
		if b.Overflow != "" {
			blob, err = f.overflow.Get(ctx, b.Overflow)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return m, fmt.Errorf("read the overflow of message %s: %w", m.ID, err)
			}
		}
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrGone, err)
		} else {
			m.Records, err = b.unpack(blob)
		}
	}
	if err != nil {
		// A damaged overflow object stays when its message is deleted: it has the only copy.
		m.overflow = ""
		m.Body, m.Damaged = aws.ToString(got.Body), fmt.Errorf("read message %s of queue %s: %w", m.ID, f.name, err)
	}
	return m, nil
}

// Extend hides a message from now on for as long as visibility; zero shows it
// to others at once. SQS bounds the sum to 12 hours from when it was received.
// The error wraps ErrNotHeld when another receiver holds the message.
func (f *Fallback) Extend(ctx context.Context, m Message, visibility time.Duration) error {
	url, err := f.url(ctx)
	if err != nil {
		return err
	}
	_, err = f.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{
		QueueUrl: url, ReceiptHandle: &m.handle, VisibilityTimeout: wholeSeconds(min(visibility, maxVisibility)),
	}, bounded)
	if err != nil {
		return fmt.Errorf("extend message %s of queue %s: %w", m.ID, f.name, notHeld(err))
	}
	return nil
}

// Delete removes a message and then its overflow object. The error wraps
// ErrNotHeld when another receiver holds the message, and will delete it.
func (f *Fallback) Delete(ctx context.Context, m Message) error {
	url, err := f.url(ctx)
	if err != nil {
		return err
	}
	_, err = f.client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: &m.handle}, bounded)
	if err != nil {
		return fmt.Errorf("delete message %s of queue %s: %w", m.ID, f.name, notHeld(err))
	}
	deletedMessages.Inc()
	if m.overflow == "" {
		return nil
	}
	if err := f.overflow.Delete(ctx, m.overflow); err != nil {
		return fmt.Errorf("delete the overflow of message %s: %w", m.ID, err)
	}
	return nil
}

// notHeld adds ErrNotHeld to the ways in which SQS says that.
func notHeld(err error) error {
	var handle *types.ReceiptHandleIsInvalid
	var flight *types.MessageNotInflight
	if errors.As(err, &handle) || errors.As(err, &flight) || code(err) == "InvalidParameterValue" {
		return fmt.Errorf("%w: %w", ErrNotHeld, err)
	}
	return err
}
