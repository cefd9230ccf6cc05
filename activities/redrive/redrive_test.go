package redrive

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/backoff"
	"millrace/internal/intake"
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
func (y *yard) run(t *testing.T, limits RedriveLimits, long time.Duration) RedriveProgress {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	r := &redriving{
		Redriver: Redriver{Queue: y, Stream: y, DeadLetters: y, Limits: limits.withDefaults()},
		going:    ctx, work: t.Context(), pace: newPace(),
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

func TestRedriveMovesEveryRecordOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard(100, 50)
		got := y.run(t, RedriveLimits{}, time.Hour)
		if len(y.stream) != 5000 || y.puts != 5000 || len(y.messages) > 0 || got.Counts != (RedriveCounts{Messages: 100, Records: 5000}) {
			t.Errorf("%d records are in the stream, %d were put, %+v", len(y.stream), y.puts, got)
		}
	})
}

// TestRedriveFollowsAStreamThatThrottles: all arrives, no message is lost from
// sight meanwhile, and rejected puts stay a small part.
func TestRedriveFollowsAStreamThatThrottles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard(400, 100)
		y.capacity = 500
		begin := time.Now()
		got := y.run(t, RedriveLimits{}, time.Hour)
		took := time.Since(begin)
		if len(y.stream) != 40_000 || len(y.messages) > 0 {
			t.Fatalf("%d records are in the stream after %v, %+v", len(y.stream), took, got)
		}
		if got.Counts.Throttled == 0 || y.late > 0 {
			t.Errorf("throttled %d times, %d messages were held too long", got.Counts.Throttled, y.late)
		}
		if least := 40_000 / y.capacity; took.Seconds() > 3*least || y.puts > 3*40_000 {
			t.Errorf("it took %v where %v s are the least, and put %d records for 40000", took, least, y.puts)
		}
	})
}

// TestRedriveLosesNothingWhenItIsStopped at any moment, with a queue that
// fails now and then.
func TestRedriveLosesNothingWhenItIsStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard(60, 100)
		y.capacity, y.fickle = 300, true
		var returned int64
		for n := 0; len(y.messages) > 0; n++ {
			if n == 500 {
				t.Fatalf("%d messages are left", len(y.messages))
			}
			returned += y.run(t, RedriveLimits{Visibility: 30 * time.Second}, time.Duration(y.random.IntN(9000))*time.Millisecond).Counts.Returned
		}
		if len(y.stream) != 6000 || returned == 0 {
			t.Errorf("%d records are in the stream, %d were returned", len(y.stream), returned)
		}
	})
}

// TestRedriveEndsWhenNothingAnswers, and goes on when something does.
func TestRedriveEndsWhenNothingAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard(20, 100)
		y.capacity = 300
		time.AfterFunc(time.Second, func() {
			y.mu.Lock()
			defer y.mu.Unlock()
			y.silent = true
		})
		begin := time.Now()
		got := y.run(t, RedriveLimits{}, time.Minute)
		if took := time.Since(begin); took > time.Minute+3*redriveTimeout+giveBackTimeout || got.LastError == "" || len(y.messages) == 0 {
			t.Errorf("it took %v, %d messages are left, %+v", took, len(y.messages), got)
		}
		y.silent = false
		if y.run(t, RedriveLimits{}, time.Hour); len(y.stream) != 2000 || len(y.messages) > 0 {
			t.Errorf("%d records are in the stream, %d messages are left", len(y.stream), len(y.messages))
		}
	})
}

func TestRedriveBuriesWhatTheStreamWillNeverTake(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard(1, 3)
		y.add([][]byte{[]byte("good"), []byte("invalid")})
		y.messages[y.add(nil)].damaged = errors.New("not a message of this pipeline")
		y.messages[y.add(nil)].damaged = fmt.Errorf("read it: %w", queue.ErrGone)
		y.ledger = errors.New("the ledger is away")
		time.AfterFunc(time.Minute, func() {
			y.mu.Lock()
			defer y.mu.Unlock()
			y.ledger = nil
		})
		got := y.run(t, RedriveLimits{}, time.Hour)
		if len(y.messages) > 0 || y.dead["invalid"] != "Foreign" || len(y.dead) != 3 || y.stream["good"] != 1 || got.Counts.Dead != 3 {
			t.Errorf("dead are %v, in the stream is %v, %+v", y.dead, y.stream, got)
		}
	})
}

// TestRedriveForgetsASecondDelivery of a message whose overflow object went
// with the first one.
func TestRedriveForgetsASecondDelivery(t *testing.T) {
	t.Parallel()
	y := newYard(0, 0)
	r := &redriving{Redriver: Redriver{Queue: y, DeadLetters: y}, work: t.Context()}
	r.discard(queue.Message{ID: "m1/1", Body: "body", Damaged: fmt.Errorf("read it: %w", queue.ErrGone)})
	if len(y.dead) > 0 {
		t.Errorf("dead are %v", y.dead)
	}
}

func TestRedriveLimitsAreChecked(t *testing.T) {
	t.Parallel()
	for _, l := range []RedriveLimits{{Receivers: -1}, {Visibility: time.Second}} {
		if l.Validate() == nil {
			t.Errorf("%+v is taken for valid", l)
		}
	}
	if err := (RedriveLimits{}).Validate(); err != nil {
		t.Error(err)
	}
}
