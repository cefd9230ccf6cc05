package intake_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/intake"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/faultproxy"
)

func record(id string, extra int) []byte {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	head := telemetry.Head{Index: telemetry.IndexName("log", at), ReceivedAt: at, Tenant: "t", ID: id, Type: "log", Timestamp: at}
	return telemetry.AppendRecord(nil, head, []byte(`{"body":{"text":"`+strings.Repeat("x", extra)+`"}}`))
}

// TestPutStoresEachRecordOrReturnsIt puts the same batch while stream,
// queue and ledger do what they do, and looks for every record itself.
func TestPutStoresEachRecordOrReturnsIt(t *testing.T) {
	t.Parallel()
	throttled := faultproxy.Rule{Name: "throttled", Operation: "PutRecords", Fault: faultproxy.Throttle()}
	away := faultproxy.Rule{Name: "away", Fault: faultproxy.AWSError(503, "ServiceUnavailable")}
	reset := faultproxy.Rule{Name: "reset", Operation: "PutRecords", Fault: faultproxy.Reset{}}
	const count, invalid = 100, 3 // of which invalid can never be taken
	for name, c := range map[string]struct {
		stream, queue []faultproxy.Rule
		ledger        error
		inStream      func(n int) bool
		inQueue       func(n int) bool
		dead, left    int
	}{
		"all is well":               {inStream: all, inQueue: none, dead: invalid},
		"the stream throttles":      {stream: []faultproxy.Rule{throttled}, inStream: none, inQueue: all, dead: invalid},
		"it throttles once":         {stream: []faultproxy.Rule{times(throttled, 1)}, inStream: all, inQueue: none, dead: invalid},
		"the connection breaks":     {stream: []faultproxy.Rule{reset}, inStream: none, inQueue: all, dead: invalid},
		"stream and queue are away": {stream: []faultproxy.Rule{away}, queue: []faultproxy.Rule{away}, inStream: none, inQueue: none, dead: invalid, left: count},
		"the ledger is away":        {ledger: errors.New("the ledger is away"), inStream: all, inQueue: none, left: invalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFaultyIntake(t)
			f.toStream.Set(c.stream...)
			f.toQueue.Set(c.queue...)
			f.deadLetters.err = c.ledger
			var records [][]byte
			for n := range count {
				records = append(records, record(fmt.Sprint(n), 100))
			}
			for n := range invalid { // in between
				tooLarge := record(fmt.Sprint("large", n), telemetry.MaxRecordSize)
				records = slices.Insert(records, 10*n, tooLarge)
			}
			placed, err := f.Place(t.Context(), "batch", records)
			left := placed.Left
			if len(left) != c.left || (err == nil) != (c.left == 0) || !slices.IsSorted(left) {
				t.Errorf("left are %v: %v", left, err)
			}
			inStream, inQueue := f.inStream(), f.inQueue()
			for n, r := range records {
				if slices.Contains(placed.Queued, n) != (inQueue[text(r)] > 0) {
					t.Errorf("record %d is %d times in the queue, and queued are %v", n, inQueue[text(r)], placed.Queued)
				}
				text, good := text(r), len(r) <= telemetry.MaxRecordSize
				switch {
				case slices.Contains(left, n):
					if inStream[text]+inQueue[text] > 0 || f.deadLetters.dead[text] != "" {
						t.Errorf("record %d is left, and somewhere, too", n)
					}
				case !good:
					if f.deadLetters.dead[text] != outcome.TypeTooLargePut {
						t.Errorf("record %d is not in the ledger", n)
					}
				case c.inStream(n) != (inStream[text] == 1) || c.inQueue(n) != (inQueue[text] == 1):
					t.Errorf("record %d is %d times in the stream and %d times in the queue", n, inStream[text], inQueue[text])
				}
			}
			if len(f.deadLetters.dead) != c.dead {
				t.Errorf("dead are %v", slices.Collect(maps.Values(f.deadLetters.dead)))
			}
			if faults := len(f.toStream.Log()); (len(c.stream) > 0) != (faults > 0) {
				t.Errorf("the stream made %d faults", faults)
			}
		})
	}
}

func text(record []byte) string { return string(record) }

func all(int) bool  { return true }
func none(int) bool { return false }

func times(r faultproxy.Rule, n int) faultproxy.Rule {
	r.Times = n
	return r
}

// TestOnlyRejectedEntriesGoToTheQueue rejects a share of the entries of each
// call: what the stream took is not sent again.
func TestOnlyRejectedEntriesGoToTheQueue(t *testing.T) {
	t.Parallel()
	f := newFaultyIntake(t)
	f.toStream.Set(faultproxy.Rule{Name: "some", Operation: "PutRecords", Fault: faultproxy.RejectEntries{Share: 0.7}})
	var records [][]byte
	for n := range 1200 {
		records = append(records, record(fmt.Sprint(n), 10))
	}
	if left, err := f.Put(t.Context(), "batch", records); len(left) > 0 || err != nil {
		t.Fatalf("left are %v: %v", left, err)
	}
	inStream, inQueue := f.inStream(), f.inQueue()
	for n, r := range records {
		if inStream[string(r)]+inQueue[string(r)] != 1 {
			t.Errorf("record %d is %d times in the stream and %d times in the queue", n, inStream[string(r)], inQueue[string(r)])
		}
	}
	if len(inQueue) == 0 || len(inStream) == 0 {
		t.Errorf("%d in the stream, %d in the queue", len(inStream), len(inQueue))
	}
}

// TestPutWaitsForItsTurn gives up when ctx ends before that.
func TestPutWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	i := intake.New(blocking{entered, leave}, nil, nil, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = i.Put(context.Background(), "first", [][]byte{{1}})
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if left, err := i.Put(ctx, "second", [][]byte{{1}, {2}}); len(left) != 2 || !errors.Is(err, context.Canceled) {
		t.Errorf("left are %v: %v", left, err)
	}
	close(leave)
	<-done
}

type blocking struct{ entered, leave chan struct{} }

func (b blocking) Put(context.Context, [][]byte) []stream.Rejection {
	close(b.entered)
	<-b.leave
	return nil
}
