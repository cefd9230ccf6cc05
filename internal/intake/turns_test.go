package intake

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/stream"
)

// TestTurnsAdaptToAnsweredCalls drives a service that answers only while no
// more than a few calls are in flight.
func TestTurnsAdaptToAnsweredCalls(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(16)
		var mu sync.Mutex
		able, inFlight, failures, calls, limits := 16, 0, 0, 0, 0.0
		call := func() {
			end, err := turns.acquire(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			inFlight++
			limits += turns.now()
			answered := inFlight <= able
			calls++
			if !answered {
				failures++
			}
			lasts := time.Duration(8+calls%5) * time.Millisecond // not all end at one instant, in an order that varies
			mu.Unlock()
			time.Sleep(lasts) // inside of the bubble
			mu.Lock()
			inFlight--
			mu.Unlock()
			end(map[bool]verdict{true: took, false: unanswered}[answered])
		}
		run := func(count int) (share, limit float64) {
			failures, calls, limits = 0, 0, 0
			var group sync.WaitGroup
			for range 32 {
				group.Go(func() {
					for range count {
						call()
					}
				})
			}
			group.Wait()
			return float64(failures) / float64(calls), limits / float64(calls)
		}
		if share, _ := run(20); share > 0 {
			t.Errorf("%.2f failed while all was well", share)
		}
		able = 4
		run(10)
		// It saws between half and one more than it should. To rise from 2.5 to 5 takes (5²-2.5²)/2 = 9.4 calls that are
		// answered, since each raises it by its inverse; then, until the first that fails has ended, 5 may begin without an answer.
		const most = 5 / (5 + 9.4)
		if share, limit := run(100); share > most || limit < 2 || limit > 5 {
			t.Errorf("%.2f failed, %.1f turns at once on average, where 4 are right", share, limit)
		}
		able = 16
		if run(100); turns.limit < 15 {
			t.Errorf("%.1f turns at once when all is well again", turns.limit)
		}
	})
}

func (t *turns) now() float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limit
}

func TestCanceledWaiterLosesNoTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		turns := newTurns(1)
		end, err := turns.acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := turns.acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
		}
		end(took)
		if end, err = turns.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
		end(took)
		if turns.taken != 0 || len(turns.waiting) != 0 {
			t.Errorf("%d turns are taken, %d wait", turns.taken, len(turns.waiting))
		}
	})
}

// TestThrottlingLowersLimitOncePerRoundTrip, but leaves turns enough for what
// must get to the queue; what does not answer leaves one.
func TestThrottlingLowersLimitOncePerRoundTrip(t *testing.T) {
	t.Parallel()
	turns := newTurns(16)
	round := func(v verdict) float64 {
		var ends []func(verdict)
		for range int(turns.now()) {
			end, err := turns.acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ends = append(ends, end)
		}
		for _, end := range ends {
			end(v)
		}
		return turns.now()
	}
	for n, want := range []float64{8, leastThrottled, leastThrottled} {
		if got := round(throttled); got != want {
			t.Errorf("throttled %d times, %.1f turns, want %.1f", n+1, got, want)
		}
	}
	round(unanswered)
	round(unanswered)
	for _, v := range []verdict{unanswered, throttled} {
		if got := round(v); got != 1 {
			t.Errorf("without answers, then %d, %.1f turns", v, got)
		}
	}
	for range 16 {
		round(took)
	}
	if got := turns.now(); got < 14 {
		t.Errorf("%.1f turns when all is well again", got)
	}
}

// shares is a stream that throttles, or does not answer for, the first so many
// records of each call.
type shares struct {
	count int
	code  string
}

func (s shares) Put(_ context.Context, records [][]byte) (rejected []stream.Rejection) {
	for n := range min(s.count, len(records)) {
		rejected = append(rejected, stream.Rejection{Position: n, Code: s.code})
	}
	return rejected
}

// counts is a queue that takes everything.
type counts struct{ sent int }

func (c *counts) Send(_ context.Context, records [][]byte) ([]int, error) {
	c.sent += len(records)
	return nil, nil
}

// TestPutAdaptsToThrottling: to that of most of its records, and all of those
// get to the queue as ever.
func TestPutAdaptsToThrottling(t *testing.T) {
	t.Parallel()
	const records, puts = 100, 4
	for name, c := range map[string]struct {
		stream shares
		limit  float64
	}{
		"none":             {shares{}, 16},
		"some":             {shares{30, "ProvisionedThroughputExceededException"}, 16},
		"most":             {shares{60, "ProvisionedThroughputExceededException"}, leastThrottled},
		"all":              {shares{100, "ProvisionedThroughputExceededException"}, leastThrottled},
		"one is not known": {shares{1, stream.CodeUnavailable}, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			q := &counts{}
			i := New(c.stream, q, nil, 0)
			for range puts {
				if left, err := i.Put(t.Context(), "batch", make([][]byte, records)); len(left) > 0 || err != nil {
					t.Fatalf("%s: left are %v: %v", name, left, err)
				}
			}
			if got := i.turns.now(); got != c.limit || q.sent != puts*c.stream.count {
				t.Errorf("%s: %.1f turns, %d records in the queue", name, got, q.sent)
			}
		})
	}
}

// hangs is a stream that answers when it is let go.
type hangs chan struct{}

func (h hangs) Put(context.Context, [][]byte) []stream.Rejection {
	<-h
	return nil
}

// TestPutUsesQueueWhenItGetsNoTurn within the time there is.
func TestPutUsesQueueWhenItGetsNoTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h, q := make(hangs), &counts{}
		i := New(h, q, nil, 1)
		go func() { _, _ = i.Put(t.Context(), "first", make([][]byte, 1)) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if left, err := i.Put(ctx, "second", make([][]byte, 5)); len(left) > 0 || err != nil || q.sent != 5 {
			t.Errorf("%d are in the queue, left are %v: %v", q.sent, left, err)
		}
		close(h)
	})
}

// TestThrottledPutWaitsOutsideItsTurn: others are put meanwhile.
func TestThrottledPutWaitsOutsideItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := New(shares{1, "ProvisionedThroughputExceededException"}, &counts{}, nil, 1)
		go func() { _, _ = i.Put(t.Context(), "first", make([][]byte, 2)) }()
		synctest.Wait() // for its second attempt
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		end, err := i.turns.acquire(ctx)
		if err != nil {
			t.Fatal(err)
		}
		end(took)
	})
}
