package redrive

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/longcall"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

func TestRedriveMovesEveryRecordOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		y := newYard(100, 50)
		got := y.run(t, Limits{}, time.Hour)
		if len(y.stream) != 5000 || y.puts != 5000 || len(y.messages) > 0 || got.Counts != (Counts{Messages: 100, Records: 5000}) {
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
		got := y.run(t, Limits{}, time.Hour)
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
			returned += y.run(t, Limits{Visibility: 30 * time.Second}, time.Duration(y.random.IntN(9000))*time.Millisecond).Counts.Returned
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
		got := y.run(t, Limits{}, time.Minute)
		if took := time.Since(begin); took > time.Minute+3*redriveTimeout+giveBackTimeout || got.LastError == "" || len(y.messages) == 0 {
			t.Errorf("it took %v, %d messages are left, %+v", took, len(y.messages), got)
		}
		y.silent = false
		if y.run(t, Limits{}, time.Hour); len(y.stream) != 2000 || len(y.messages) > 0 {
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
		got := y.run(t, Limits{}, time.Hour)
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
	r := &redriving{Redriver: Redriver{Queue: y, DeadLetters: y}, call: longcall.Begin(t.Context())}
	r.discard(queue.Message{ID: "m1/1", Body: "body", Damaged: fmt.Errorf("read it: %w", queue.ErrGone)})
	if len(y.dead) > 0 {
		t.Errorf("dead are %v", y.dead)
	}
}

// TestTimeUntilInTheStream is of what the stream has taken, and of clocks that are ahead none.
func TestTimeUntilInTheStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		record := func(age time.Duration) []byte {
			at := time.Now().Add(-age)
			return telemetry.AppendRecord(nil, telemetry.Head{Index: "telemetry-span-2026.11.23", ReceivedAt: at, Tenant: "acme", ID: "1", Type: "span", Timestamp: at}, []byte(`{}`))
		}
		var took seconds
		arrived(&took, [][]byte{record(time.Hour), record(2 * time.Hour), record(-time.Hour), []byte("no record")}, []stream.Rejection{{Position: 1}})
		if !slices.Equal(took, seconds{3600, 0}) {
			t.Errorf("it took %v", took)
		}
	})
}

// seconds keep what is observed.
type seconds []float64

func (s *seconds) Observe(v float64) { *s = append(*s, v) }

func TestRedriveLimitsAreChecked(t *testing.T) {
	t.Parallel()
	for _, l := range []Limits{{Receivers: -1}, {Visibility: time.Second}} {
		if l.Validate() == nil {
			t.Errorf("%+v is taken for valid", l)
		}
	}
	if err := (Limits{}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestAgeIsThatOfOldestRecordInProgress, by its receipt at the collector: a message that returns to the queue is new, and
// its records are not.
func TestAgeIsThatOfOldestRecordInProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		record := telemetry.AppendRecord(nil, telemetry.Head{Tenant: "t", ID: "1", Index: "telemetry-log-2026.01.01", ReceivedAt: now.Add(-time.Hour)}, []byte(`"type":"log"}`))
		r := &redriving{}
		if r.age() != 0 {
			t.Errorf("the age of nothing is %v", r.age())
		}
		release := r.hold([]queue.Message{{Sent: now.Add(-time.Minute), Records: [][]byte{record}}, {Sent: now.Add(-2 * time.Minute)}})
		young := r.hold([]queue.Message{{Sent: now.Add(-time.Minute), Records: [][]byte{[]byte("of another program")}}})
		if age := r.age().Round(time.Second); age != time.Hour {
			t.Errorf("the oldest record is %v old", age)
		}
		release()
		if age := r.age().Round(time.Second); age != time.Minute {
			t.Errorf("the oldest record is %v old, by its message", age)
		}
		young()
		if r.age() != 0 {
			t.Errorf("nothing is in progress, and is %v old", r.age())
		}
	})
}
