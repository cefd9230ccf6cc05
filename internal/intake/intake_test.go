package intake_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/deploy/local/localtest"
	"millrace/internal/intake"
	"millrace/internal/outcome"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/faultproxy"
)

// graves is a Graveyard in memory that can fail.
type graves struct {
	mu   sync.Mutex
	dead map[string]string // record: code
	err  error
}

func (g *graves) WriteIngest(_ context.Context, _ string, dead []intake.Refused) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return g.err
	}
	for _, d := range dead {
		g.dead[string(d.Data)] = d.Code
	}
	return nil
}

// world is an Intake over a real stream and a real queue, each behind a proxy.
type world struct {
	*testing.T
	*intake.Intake
	straight *stream.Stream // past the proxy
	fallback *queue.Fallback
	toStream *faultproxy.Proxy
	toQueue  *faultproxy.Proxy
	graves   *graves
}

type noOverflow struct{}

func (noOverflow) Put(context.Context, string, []byte) error   { return errors.New("no overflow here") }
func (noOverflow) Get(context.Context, string) ([]byte, error) { return nil, errors.New("no overflow") }
func (noOverflow) Delete(context.Context, string) error        { return nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, graves: &graves{dead: map[string]string{}}}
	cfg := localtest.AWS(t)
	name := localtest.Name(t, "")
	proxied := func() (*faultproxy.Proxy, aws.Config) {
		proxy, err := faultproxy.Start(t.Context(), *cfg.BaseEndpoint)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = proxy.Close() })
		through := cfg.Copy()
		through.BaseEndpoint = aws.String(proxy.URL())
		return proxy, through
	}
	direct := kinesis.NewFromConfig(cfg)
	if _, err := stream.Create(t.Context(), direct, name, 1, 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = direct.DeleteStream(context.WithoutCancel(t.Context()), &kinesis.DeleteStreamInput{StreamName: &name})
	})
	var err error
	if w.straight, err = stream.Open(t.Context(), direct, name, stream.Settings{}); err != nil {
		t.Fatal(err)
	}
	queues := sqs.NewFromConfig(cfg)
	if err := queue.Create(t.Context(), queues, name); err != nil {
		t.Fatal(err)
	}
	if w.fallback, err = queue.OpenFallback(t.Context(), queues, name, noOverflow{}); err != nil {
		t.Fatal(err)
	}
	var throughStream, throughQueue aws.Config
	w.toStream, throughStream = proxied()
	w.toQueue, throughQueue = proxied()
	faulty, err := stream.Open(t.Context(), kinesis.NewFromConfig(throughStream), name, stream.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	faultyQueue, err := queue.OpenFallback(t.Context(), sqs.NewFromConfig(throughQueue), name, noOverflow{})
	if err != nil {
		t.Fatal(err)
	}
	w.Intake = intake.New(faulty, faultyQueue, w.graves, 0)
	return w
}

// inStream reads all records of the stream, and how often each is there.
func (w *world) inStream() map[string]int {
	w.Helper()
	found := map[string]int{}
	shards, err := w.straight.Shards(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	for _, shard := range shards {
		reader := w.straight.Reader(shard.ID, telemetry.Checkpoint{})
		defer reader.Close()
		for {
			page, err := reader.Next(w.Context())
			if err != nil {
				w.Fatal(err)
			}
			if len(page.Records) == 0 {
				break
			}
			for _, r := range page.Records {
				found[string(r.Data)]++
			}
		}
	}
	return found
}

func (w *world) inQueue() map[string]int {
	w.Helper()
	found := map[string]int{}
	for {
		messages, err := w.fallback.Receive(w.Context(), 10, 0, time.Minute)
		if err != nil {
			w.Fatal(err)
		}
		if len(messages) == 0 {
			return found
		}
		for _, m := range messages {
			for _, r := range m.Records {
				found[string(r)]++
			}
		}
	}
}

func record(id string, extra int) []byte {
	at := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	head := telemetry.Head{Index: telemetry.IndexName("log", at), ReceivedAt: at, Tenant: "t", ID: id, Type: "log", Timestamp: at}
	return telemetry.AppendRecord(nil, head, []byte(`{"body":{"text":"`+strings.Repeat("x", extra)+`"}}`))
}

// TestEachRecordIsDurableSomewhereOrLeft puts the same batch while stream,
// queue and ledger do what they do, and looks for every record itself.
func TestEachRecordIsDurableSomewhereOrLeft(t *testing.T) {
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
			w := newWorld(t)
			w.toStream.Set(c.stream...)
			w.toQueue.Set(c.queue...)
			w.graves.err = c.ledger
			var records [][]byte
			for n := range count {
				records = append(records, record(fmt.Sprint(n), 100))
			}
			for n := range invalid { // in between
				tooLarge := record(fmt.Sprint("large", n), telemetry.MaxRecordSize)
				records = slices.Insert(records, 10*n, tooLarge)
			}
			left, err := w.Put(t.Context(), "batch", records)
			if len(left) != c.left || (err == nil) != (c.left == 0) || !slices.IsSorted(left) {
				t.Errorf("left are %v: %v", left, err)
			}
			inStream, inQueue := w.inStream(), w.inQueue()
			for n, r := range records {
				text, good := text(r), len(r) <= telemetry.MaxRecordSize
				switch {
				case slices.Contains(left, n):
					if inStream[text]+inQueue[text] > 0 || w.graves.dead[text] != "" {
						t.Errorf("record %d is left, and somewhere, too", n)
					}
				case !good:
					if w.graves.dead[text] != outcome.TypeTooLargePut {
						t.Errorf("record %d is not in the ledger", n)
					}
				case c.inStream(n) != (inStream[text] == 1) || c.inQueue(n) != (inQueue[text] == 1):
					t.Errorf("record %d is %d times in the stream and %d times in the queue", n, inStream[text], inQueue[text])
				}
			}
			if len(w.graves.dead) != c.dead {
				t.Errorf("dead are %v", slices.Collect(maps.Values(w.graves.dead)))
			}
			if faults := len(w.toStream.Log()); (len(c.stream) > 0) != (faults > 0) {
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
	w := newWorld(t)
	w.toStream.Set(faultproxy.Rule{Name: "some", Operation: "PutRecords", Fault: faultproxy.RejectEntries{Share: 0.7}})
	var records [][]byte
	for n := range 1200 {
		records = append(records, record(fmt.Sprint(n), 10))
	}
	if left, err := w.Put(t.Context(), "batch", records); len(left) > 0 || err != nil {
		t.Fatalf("left are %v: %v", left, err)
	}
	inStream, inQueue := w.inStream(), w.inQueue()
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
