package activities

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/backoff"
	"millrace/internal/dedup"
	"millrace/internal/delay"
	"millrace/internal/intake"
	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// shelf is a store of a ledger that fails now and then.
type shelf struct {
	mu      sync.Mutex
	random  *rand.Rand
	fickle  bool
	objects map[string][]byte
	writes  int
}

func newShelf() *shelf {
	return &shelf{random: rand.New(rand.NewPCG(1, 2)), objects: map[string][]byte{}}
}

// setFickle says whether it fails now and then, and returns what it did before.
func (s *shelf) setFickle(fickle bool) (before bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.fickle = s.fickle, fickle
	return before
}

func (s *shelf) fails() error {
	if s.fickle && s.random.IntN(20) == 0 {
		return errors.New("S3 is away")
	}
	return nil
}

func (s *shelf) PutNew(_ context.Context, key string, body []byte, _ map[string]string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fails(); err != nil {
		return false, err
	}
	if _, there := s.objects[key]; there {
		return false, nil
	}
	s.objects[key] = body
	s.writes++
	return true, nil
}

func (s *shelf) Put(_ context.Context, key string, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fails(); err != nil {
		return err
	}
	s.objects[key] = body
	s.writes++
	return nil
}

func (s *shelf) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fails(); err != nil {
		return nil, err
	}
	body, there := s.objects[key]
	if !there {
		return nil, fs.ErrNotExist
	}
	return body, nil
}

func (s *shelf) Delete(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fails(); err != nil {
		return err
	}
	delete(s.objects, key)
	s.writes++
	return nil
}

func (s *shelf) Keys(_ context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		s.mu.Lock()
		err := s.fails()
		keys := slices.Sorted(maps.Keys(s.objects))
		s.mu.Unlock()
		if err != nil {
			yield("", err)
			return
		}
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) && !yield(key, nil) {
				return
			}
		}
	}
}

// cemetery is a ledger, and around it a stream whose shard indexes, or buries,
// what is put into it a little later.
type cemetery struct {
	t      *testing.T
	shelf  *shelf
	ledger *ledger.Ledger

	mu      sync.Mutex
	random  *rand.Rand
	fickle  bool
	stands  bool                     // the shard does nothing
	bad     func(id string) bool     // what the index refuses
	docs    map[string]int           // by id, how often it was created
	kept    map[string]stream.Record // what the stream has, by sequence number
	next    int
	puts    map[string]int // by id
	running map[string]bool
	shard   sync.WaitGroup
}

func newCemetery(t *testing.T) *cemetery {
	c := &cemetery{
		t: t, shelf: newShelf(), random: rand.New(rand.NewPCG(3, 4)), bad: func(string) bool { return false },
		docs: map[string]int{}, kept: map[string]stream.Record{}, next: 100_000, puts: map[string]int{}, running: map[string]bool{},
	}
	c.ledger = ledger.New(c.shelf, "telemetry")
	return c
}

var cemeteryStream = telemetry.StreamID{
	Name: "telemetry", ARN: "arn:aws:kinesis:eu-west-1:000000000000:stream/telemetry", Created: arrival.Add(-time.Hour),
}

// bury enters records in the ledger under a range, with an error, and returns
// the key.
func (c *cemetery) bury(first int, cause string, records ...[]byte) string {
	c.t.Helper()
	key, err := c.add(ledger.Bulk, first, cause, records...)
	if err != nil {
		c.t.Fatal(err)
	}
	return key
}

func (c *cemetery) add(kind ledger.Kind, first int, cause string, records ...[]byte) (string, error) {
	e := ledger.Entry{Kind: kind, At: now(), Range: deadRange(sequence(first), sequence(first+len(records)-1), len(records))}
	for n, data := range records {
		r := ledger.NewRecord(data, outcome.Error{Type: cause, Reason: "it is so"})
		r.Sequence = sequence(first + n)
		e.Records = append(e.Records, r)
	}
	return c.ledger.Add(context.Background(), e)
}

func (c *cemetery) reprocessor() *Reprocessor {
	p := NewProcessor(Processor{
		Stream: cemeteryStream, Bulk: c, Lookup: c, Limiter: limiter.New(4, 0), Seen: dedup.New(100), Delay: delay.New(),
		Ledger: c.ledger, Limits: ProcessLimits{BulkRecords: 40},
	})
	return &Reprocessor{
		Stream: cemeteryStream, Source: c, Ledger: c.ledger, Documents: c, Processor: p, Workflows: c, Worker: "test",
		Intake: func(g intake.Graveyard) Intake { return intake.New(c, c, g, 1) },
	}
}

func (c *cemetery) Runs(_ context.Context, id string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[id], nil
}

func (c *cemetery) Fetch(_ context.Context, r telemetry.Range) (records []stream.Record, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fickle && c.random.IntN(5) == 0 {
		return nil, errors.New("the stream is away")
	}
	for _, record := range c.kept {
		if telemetry.CompareSequence(record.Sequence, r.First) >= 0 && telemetry.CompareSequence(record.Sequence, r.Last) <= 0 {
			records = append(records, record)
		}
	}
	slices.SortFunc(records, func(a, b stream.Record) int { return telemetry.CompareSequence(a.Sequence, b.Sequence) })
	return records, nil
}

func (c *cemetery) Exist(_ context.Context, documents []sink.Reference) ([]bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fickle && c.random.IntN(5) == 0 {
		return nil, errors.New("Elasticsearch is away")
	}
	found := make([]bool, len(documents))
	for n, d := range documents {
		found[n] = c.docs[d.ID] > 0
	}
	return found, nil
}

// Find knows of no digests.
func (c *cemetery) Find(ctx context.Context, documents []sink.Reference) ([]sink.Found, error) {
	there, err := c.Exist(ctx, documents)
	found := make([]sink.Found, len(there))
	for n := range found {
		found[n].There = there[n]
	}
	return found, err
}

// Put is that of the stream.
func (c *cemetery) Put(_ context.Context, records [][]byte) (rejected []stream.Rejection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, data := range records {
		f := telemetry.ParseFields(data)
		switch {
		case f.DocID == "":
			rejected = append(rejected, stream.Rejection{Position: n, Code: outcome.TypeForeignPut, Invalid: true})
		case c.fickle && c.random.IntN(10) == 0:
			rejected = append(rejected, stream.Rejection{Position: n, Code: "ProvisionedThroughputExceededException"})
		default:
			c.puts[f.ID]++
			c.next++
			at := c.next
			c.shard.Go(func() { c.process(at, data) })
		}
	}
	return rejected
}

// Send is that of the queue, which is away.
func (c *cemetery) Send(_ context.Context, records [][]byte) ([]int, error) {
	return intake.Positions(len(records)), errors.New("SQS is away")
}

// process is what the shard does with a record, a little later.
func (c *cemetery) process(at int, data []byte) {
	c.mu.Lock()
	stands, f := c.stands, telemetry.ParseFields(data)
	bad, after := c.bad(f.ID), time.Duration(c.random.IntN(2000))*time.Millisecond
	c.mu.Unlock()
	if stands {
		return
	}
	time.Sleep(after)
	for bad {
		if _, err := c.add(ledger.Bulk, at, "still_bad", data); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.docs[f.DocID]++
}

// Do is that of the index.
func (c *cemetery) Do(ctx context.Context, b *sink.Bulk) sink.Result {
	ids := documents(b)
	backoff.Wait(ctx, 50*time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fickle && c.random.IntN(4) == 0 {
		return sink.Result{Class: outcome.Transient, Overloaded: true, Error: outcome.Error{Type: "made_up", Status: 429}}
	}
	names := ids1000()
	if c.fickle && len(ids) > 1 && slices.ContainsFunc(ids, func(id telemetry.DocID) bool { return c.bad(names[id.String()]) && c.random.IntN(2) == 0 }) {
		return sink.Result{Class: outcome.Refused, Error: outcome.Error{Type: "whole", Status: 400}}
	}
	var items []sink.Item
	for n, id := range ids {
		switch doc := id.String(); {
		case c.bad(names[doc]):
			items = append(items, sink.Item{Position: n, Class: outcome.Poison, Error: outcome.Error{Type: "still_bad", Reason: "'x'", Status: 400}})
		case c.docs[doc] > 0:
			items = append(items, sink.Item{Position: n, Class: outcome.Indexed, Duplicate: true})
		default:
			c.docs[doc]++
		}
	}
	return sink.Result{Class: outcome.Indexed, Items: items}
}

func docOf(n int) string { return telemetry.ParseFields(record(n)).DocID }

// ids1000 are the ids of the first records, by document.
var ids1000 = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	for n := range 1000 {
		names[docOf(n)] = fmt.Sprint(n)
	}
	return names
})

// places counts, by id, the open entries in which a record stands that has not
// ended well.
func (c *cemetery) places() map[string]int {
	c.t.Helper()
	open := map[string]int{}
	for _, e := range c.entries() {
		for _, r := range e.Records {
			if len(r.Data) > 0 && r.Ended == "" && e.Resolution == nil {
				open[r.ID]++
			}
		}
	}
	return open
}

// conserved fails unless each record is indexed, or in an open entry.
func (c *cemetery) conserved(records int) {
	c.t.Helper()
	open := c.places()
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := range records {
		if id := fmt.Sprint(n); open[id] == 0 && c.docs[docOf(n)] == 0 {
			c.t.Fatalf("record %s is neither indexed nor in an open entry", id)
		}
		if c.docs[docOf(n)] > 1 && c.puts[fmt.Sprint(n)] == 0 {
			c.t.Fatalf("record %d was created twice", n)
		}
	}
}

// run calls ReprocessEntries once, for so long.
func (c *cemetery) run(in ReprocessCall, long time.Duration) (ReprocessProgress, error) {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	in.Stream, in.For = cemeteryStream.Name, time.Hour
	if in.Settle == 0 {
		in.Settle = time.Minute
	}
	if in.Select.Stream == "" {
		in.Select.Stream = in.Stream
	}
	call := newReprocessing(c.reprocessor(), in, ctx, context.Background())
	err := call.run()
	if errors.Is(err, longcall.ErrStopped) {
		err = nil
	}
	call.tell()
	return call.live(), err
}
