package intake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/internal/backoff"
	"millrace/internal/stream"
	"millrace/internal/tracing"
)

// Stream takes records. See stream.Stream.
type Stream interface {
	Put(ctx context.Context, records [][]byte) []stream.Rejection
}

// Queue takes records, and returns the positions of those it did not. See
// queue.Fallback.
type Queue interface {
	Send(ctx context.Context, records [][]byte) (rest []int, err error)
}

// DeadLetters writes records into the ledger, with their payload, and then tells
// the dead-letter queue. To write them again under the same name changes
// nothing but that there may be two messages.
type DeadLetters interface {
	WriteIngest(ctx context.Context, batch string, refused []Refused) error
}

// Refused is a record that the stream will never take.
type Refused struct {
	Position     int // in its batch
	Data         []byte
	Code, Reason string
}

// Writer is the way into the stream, and around it. It is safe for concurrent
// use.
type Writer struct {
	stream      Stream
	queue       Queue
	deadLetters DeadLetters
	turns       *turns
}

// DefaultConcurrency is how many batches are put at the same time, at the most:
// at 50 ms a call of 500 records that is 160,000 records a second.
const DefaultConcurrency = 16

// New makes an Intake that puts at most concurrency batches at the same time;
// zero is DefaultConcurrency.
func New(s Stream, q Queue, d DeadLetters, concurrency int) *Writer {
	if concurrency <= 0 {
		concurrency = DefaultConcurrency
	}
	return &Writer{stream: s, queue: q, deadLetters: d, turns: newTurns(concurrency)}
}

const (
	// streamAttempts is how often the stream is asked before what it throttles
	// goes to the queue: the waits between are a few tenths of a second, and a
	// shard's quota is one of seconds.
	streamAttempts = 3
	firstWait      = 50 * time.Millisecond

	// attemptTimeout bounds one call of the stream, of the queue and of the
	// ledger each, and the wait for a turn. It is less where the caller has less time: one that hangs
	// leaves time for the next.
	attemptTimeout = 10 * time.Second
)

// Placed says where records are that are not in the stream, by position, in order.
type Placed struct {
	Left   []int // durable nowhere yet
	Queued []int // in the queue
}

// Put is Place for who only needs to know what is left.
func (i *Writer) Put(ctx context.Context, batch string, records [][]byte) (left []int, err error) {
	placed, err := i.Place(ctx, batch, records)
	return placed.Left, err
}

// Place makes each record durable: in the stream, else in the queue, or in the
// ledger if the stream will never take it. It returns which are not in the stream,
// and why records are durable nowhere yet. batch names the records in the ledger.
func (i *Writer) Place(ctx context.Context, batch string, records [][]byte) (placed Placed, err error) {
	ctx, span := tracing.Begin(ctx, "put")
	defer func() { tracing.End(span, err) }()
	rejected, refused := i.putIntoStream(ctx, records)
	taken.WithLabelValues("stream").Add(float64(len(records) - len(rejected) - len(refused)))
	if len(refused) > 0 {
		if writeErr := i.writeDeadLetters(ctx, batch, refused); writeErr != nil {
			err = fmt.Errorf("write what the stream will never take to the ledger: %w", writeErr)
			for _, d := range refused {
				placed.Left = append(placed.Left, d.Position)
			}
		}
	}
	if len(rejected) > 0 {
		slices.Sort(rejected)
		rest, sendErr := i.send(ctx, Pick(records, rejected))
		queued := slices.Clone(rejected)
		for _, at := range rest {
			placed.Left = append(placed.Left, rejected[at])
			queued[at] = -1
		}
		placed.Queued = slices.DeleteFunc(queued, func(at int) bool { return at < 0 })
		if sendErr != nil {
			err = errors.Join(err, fmt.Errorf("queue what the stream did not take: %w", sendErr))
		}
	}
	slices.Sort(placed.Left)
	return placed, err
}

// putIntoStream tries the stream, and tries again, with what it throttles. An
// entry that has no answer is not tried again, and none waits for long until it
// is its turn: the queue is the better place when the stream is away.
func (i *Writer) putIntoStream(ctx context.Context, records [][]byte) (rejected []int, refused []Refused) {
	at := Positions(len(records))
	for attempt, wait := 1, firstWait; ; attempt, wait = attempt+1, 2*wait {
		rejections, err := i.putOnce(ctx, Pick(records, at), len(records))
		if err != nil {
			return append(rejected, at...), refused
		}
		var again []int
		for _, r := range rejections {
			position := at[r.Position]
			switch {
			case r.Invalid:
				refused = append(refused, Refused{Position: position, Data: records[position], Code: r.Code, Reason: r.Message})
			case r.Code == stream.CodeUnavailable:
				rejected = append(rejected, position)
			default:
				again = append(again, position)
			}
		}
		if len(again) == 0 || attempt == streamAttempts || !backoff.Wait(ctx, wait) {
			return append(rejected, again...), refused
		}
		at = again
	}
}

// putOnce puts some records of a batch in a turn of their own: what waits to be
// put again, or goes to the queue, delays no other batch.
func (i *Writer) putOnce(ctx context.Context, records [][]byte, ofBatch int) ([]stream.Rejection, error) {
	end, err := i.takeTurn(ctx)
	if err != nil {
		return nil, err
	}
	v := took
	defer func() { end(v) }()
	ctx, cancel := withPart(ctx)
	defer cancel()
	rejections := i.stream.Put(ctx, records)
	v = judge(rejections, ofBatch)
	return rejections, nil
}

func (i *Writer) takeTurn(ctx context.Context) (end func(verdict), err error) {
	ctx, cancel := withPart(ctx)
	defer cancel()
	return i.turns.acquire(ctx)
}

// judge says how the stream did with a batch. That it throttles a few is no
// reason to give it less: that is one shard, or one record that comes again.
func judge(rejections []stream.Rejection, ofBatch int) verdict {
	refused := 0
	for _, r := range rejections {
		switch {
		case r.Invalid:
		case r.Code == stream.CodeUnavailable:
			return unanswered
		default:
			refused++
		}
	}
	if 2*refused > ofBatch {
		return throttled
	}
	return took
}

func (i *Writer) send(ctx context.Context, records [][]byte) ([]int, error) {
	if ctx.Err() != nil {
		return Positions(len(records)), context.Cause(ctx)
	}
	ctx, cancel := withPart(ctx)
	defer cancel()
	rest, err := i.queue.Send(ctx, records)
	taken.WithLabelValues("queue").Add(float64(len(records) - len(rest)))
	return rest, err
}

func (i *Writer) writeDeadLetters(ctx context.Context, batch string, refused []Refused) error {
	ctx, cancel := withPart(ctx)
	defer cancel()
	if err := i.deadLetters.WriteIngest(ctx, batch, refused); err != nil {
		return err
	}
	taken.WithLabelValues("ledger").Add(float64(len(refused)))
	return nil
}

// withPart bounds one call, or wait: by attemptTimeout, or half of the time there is.
func withPart(ctx context.Context) (context.Context, context.CancelFunc) {
	part := attemptTimeout
	if deadline, bounded := ctx.Deadline(); bounded {
		part = min(part, time.Until(deadline)/2)
	}
	return context.WithTimeout(ctx, part)
}

// Positions are those of all of a number of records.
func Positions(count int) []int {
	at := make([]int, count)
	for n := range at {
		at[n] = n
	}
	return at
}

// Pick returns the records at some positions.
func Pick(records [][]byte, at []int) [][]byte {
	if len(at) == len(records) {
		return records
	}
	picked := make([][]byte, len(at))
	for n, position := range at {
		picked[n] = records[position]
	}
	return picked
}
