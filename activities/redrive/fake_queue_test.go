package redrive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/internal/backoff"
	"millrace/internal/intake"
	"millrace/internal/longcall"
	"millrace/internal/queue"
	"millrace/internal/stream"
)

// yard is a fallback queue with visibility timeouts, a stream that throttles,
// and a ledger, all in the fake time of a bubble.
type yard struct {
	mu       sync.Mutex
	random   *rand.Rand
	messages map[string]*held
	next     int
	stream   map[string]int
	dead     map[string]string
	capacity float64 // records a second that the stream takes
	used     float64
	usedAt   time.Time
	puts     int // records that were offered
	late     int // messages whose visibility ended while they were redriven
	ledger   error
	fickle   bool // deletes and extends fail now and then
	silent   bool // calls of the queue and of the stream get no answer
}

type held struct {
	records [][]byte
	damaged error
	until   time.Time // hidden
	receipt int
}

func newYard(messages, each int) *yard {
	y := &yard{
		random: rand.New(rand.NewPCG(1, 2)), messages: map[string]*held{}, stream: map[string]int{}, dead: map[string]string{},
		capacity: 1e9, usedAt: time.Now(),
	}
	for m := range messages {
		var records [][]byte
		for r := range each {
			records = append(records, []byte(fmt.Sprintf("%d-%d", m, r)))
		}
		y.add(records)
	}
	return y
}

func (y *yard) add(records [][]byte) string {
	y.next++
	id := fmt.Sprint("m", y.next)
	y.messages[id] = &held{records: records}
	return id
}

func (y *yard) Name() string { return "q" }

func (y *yard) Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Message, error) {
	for deadline := time.Now().Add(wait); ; {
		y.mu.Lock()
		var got []queue.Message
		for id, m := range y.messages {
			if len(got) < limit && time.Now().After(m.until) {
				m.until, m.receipt = time.Now().Add(visibility), m.receipt+1
				got = append(got, queue.Message{ID: fmt.Sprint(id, "/", m.receipt), Records: m.records, Damaged: m.damaged, Body: "body of " + id})
			}
		}
		y.mu.Unlock()
		if len(got) > 0 || ctx.Err() != nil || time.Now().After(deadline) {
			return got, ctx.Err()
		}
		if !backoff.Wait(ctx, time.Second) {
			return nil, ctx.Err()
		}
	}
}

// answer waits for the end of ctx while nothing answers.
func (y *yard) answer(ctx context.Context) error {
	y.mu.Lock()
	silent := y.silent
	y.mu.Unlock()
	if silent {
		<-ctx.Done()
	}
	return ctx.Err()
}

// held finds a message that its receiver still holds.
func (y *yard) held(m queue.Message) (string, *held) {
	for id, h := range y.messages {
		if m.ID == fmt.Sprint(id, "/", h.receipt) && time.Now().Before(h.until) {
			return id, h
		}
	}
	y.late++
	return "", nil
}

func (y *yard) Extend(ctx context.Context, m queue.Message, visibility time.Duration) error {
	if err := y.answer(ctx); err != nil {
		return err
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.fickle && y.random.IntN(5) == 0 {
		return errors.New("SQS is away")
	}
	_, h := y.held(m)
	if h == nil {
		return queue.ErrNotHeld
	}
	h.until = time.Now().Add(visibility)
	return nil
}

func (y *yard) Delete(ctx context.Context, m queue.Message) error {
	if err := y.answer(ctx); err != nil {
		return err
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.fickle && y.random.IntN(5) == 0 {
		return errors.New("SQS is away")
	}
	id, h := y.held(m)
	if h == nil {
		return queue.ErrNotHeld
	}
	for _, r := range h.records {
		if y.stream[string(r)] == 0 && y.dead[string(r)] == "" && !y.queued(string(r), id) {
			panic(fmt.Sprintf("%s was deleted, and %s is nowhere", id, r))
		}
	}
	delete(y.messages, id)
	return nil
}

// queued reports whether another message has a record.
func (y *yard) queued(record, but string) bool {
	for id, m := range y.messages {
		if id != but && slices.ContainsFunc(m.records, func(r []byte) bool { return string(r) == record }) {
			return true
		}
	}
	return false
}

func (y *yard) Send(ctx context.Context, records [][]byte) ([]int, error) {
	if err := y.answer(ctx); err != nil {
		return intake.Positions(len(records)), err
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	y.add(records)
	return nil, nil
}

func (y *yard) Put(ctx context.Context, records [][]byte) (rejected []stream.Rejection) {
	if y.answer(ctx) != nil {
		for n := range records {
			rejected = append(rejected, stream.Rejection{Position: n, Code: stream.CodeUnavailable})
		}
		return rejected
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	now := time.Now()
	y.used = max(0, y.used-now.Sub(y.usedAt).Seconds()*y.capacity)
	y.usedAt = now
	for n, r := range records {
		y.puts++
		switch {
		case string(r) == "invalid":
			rejected = append(rejected, stream.Rejection{Position: n, Code: "Foreign", Invalid: true})
		case y.used >= y.capacity:
			rejected = append(rejected, stream.Rejection{Position: n, Code: "ProvisionedThroughputExceededException"})
		default:
			y.used++
			y.stream[string(r)]++
		}
	}
	return rejected
}

func (y *yard) WriteIngest(_ context.Context, _ string, dead []intake.Refused) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.ledger != nil {
		return y.ledger
	}
	for _, d := range dead {
		y.dead[string(d.Data)] = d.Code
	}
	return nil
}

// run redrives until the queue is empty, or for a time.
func (y *yard) run(t *testing.T, limits Limits, long time.Duration) Progress {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	r := &redriving{
		Redriver: Redriver{Queue: y, Stream: y, DeadLetters: y, Limits: limits.withDefaults()},
		call:     longcall.Within(ctx, t.Context()), pace: newPutRate(),
	}
	var group sync.WaitGroup
	for range r.Limits.Receivers {
		group.Go(r.receive)
	}
	go func() {
		for ctx.Err() == nil {
			y.mu.Lock()
			if len(y.messages) == 0 {
				cancel()
			}
			y.mu.Unlock()
			backoff.Wait(ctx, 100*time.Millisecond)
		}
	}()
	group.Wait()
	return r.progress()
}
