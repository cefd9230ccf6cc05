package deadletters

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
	"millrace/internal/deadletter"
	"millrace/internal/dedup"
	"millrace/internal/delay"
	"millrace/internal/indexing"
	"millrace/internal/intake"
	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/bucket"
	"millrace/test/kit/made"
)

// pipeline is a ledger, and around it a stream whose shard indexes, or gives up,
// what is put into it a little later.
type pipeline struct {
	t      *testing.T
	bucket *bucket.Memory
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

func newPipeline(t *testing.T) *pipeline {
	p := &pipeline{
		t: t, bucket: bucket.New(), random: rand.New(rand.NewPCG(3, 4)), bad: func(string) bool { return false },
		docs: map[string]int{}, kept: map[string]stream.Record{}, next: 100_000, puts: map[string]int{}, running: map[string]bool{},
	}
	p.ledger = ledger.New(p.bucket, "telemetry")
	return p
}

// giveUp enters records in the ledger under a range, with an error, and returns
// the key.
func (p *pipeline) giveUp(first int, cause string, records ...[]byte) string {
	p.t.Helper()
	key, err := p.add(ledger.Bulk, first, cause, records...)
	if err != nil {
		p.t.Fatal(err)
	}
	return key
}

func (p *pipeline) add(kind ledger.Kind, first int, cause string, records ...[]byte) (string, error) {
	e := ledger.Entry{Kind: kind, At: deadletter.Now(), Range: made.Range(made.Sequence(first), made.Sequence(first+len(records)-1), len(records))}
	for n, data := range records {
		r := ledger.NewRecord(data, outcome.Error{Type: cause, Reason: "it is so"})
		r.Sequence = made.Sequence(first + n)
		e.Records = append(e.Records, r)
	}
	return p.ledger.Add(context.Background(), e)
}

func (p *pipeline) reprocessor() *Reprocessor {
	return &Reprocessor{
		Stream: made.Stream, Source: p, Ledger: p.ledger, Documents: p, Workflows: p, Worker: "test",
		Indexer:     indexing.New(indexing.Settings{Bulk: p, Lookup: p, Limiter: limiter.New(4, 0), Seen: dedup.New(100), Delay: delay.New(), CompareRate: 1000}),
		BulkRecords: 40,
		Intake:      func(d intake.DeadLetters) Writer { return intake.New(p, p, d, 1) },
	}
}

func (p *pipeline) Runs(_ context.Context, id string) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running[id], nil
}

func (p *pipeline) Fetch(_ context.Context, r telemetry.Range) (records []stream.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fickle && p.random.IntN(5) == 0 {
		return nil, errors.New("the stream is away")
	}
	for _, record := range p.kept {
		if telemetry.ComparePositions(record.Sequence, r.First) >= 0 && telemetry.ComparePositions(record.Sequence, r.Last) <= 0 {
			records = append(records, record)
		}
	}
	slices.SortFunc(records, func(a, b stream.Record) int { return telemetry.ComparePositions(a.Sequence, b.Sequence) })
	return records, nil
}

func (p *pipeline) Exist(_ context.Context, documents []sink.Reference) ([]bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fickle && p.random.IntN(5) == 0 {
		return nil, errors.New("Elasticsearch is away")
	}
	found := make([]bool, len(documents))
	for n, d := range documents {
		found[n] = p.docs[d.ID] > 0
	}
	return found, nil
}

// Find knows of no digests.
func (p *pipeline) Find(ctx context.Context, documents []sink.Reference) ([]sink.Found, error) {
	there, err := p.Exist(ctx, documents)
	found := make([]sink.Found, len(there))
	for n := range found {
		found[n].There = there[n]
	}
	return found, err
}

// Put is that of the stream.
func (p *pipeline) Put(_ context.Context, records [][]byte) (rejected []stream.Rejection) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n, data := range records {
		f := telemetry.ParseFields(data)
		switch {
		case f.DocID == "":
			rejected = append(rejected, stream.Rejection{Position: n, Code: outcome.TypeForeignPut, Invalid: true})
		case p.fickle && p.random.IntN(10) == 0:
			rejected = append(rejected, stream.Rejection{Position: n, Code: "ProvisionedThroughputExceededException"})
		default:
			p.puts[f.ID]++
			p.next++
			at := p.next
			p.shard.Go(func() { p.process(at, data) })
		}
	}
	return rejected
}

// Send is that of the queue, which is away.
func (p *pipeline) Send(_ context.Context, records [][]byte) ([]int, error) {
	return intake.Positions(len(records)), errors.New("SQS is away")
}

// process is what the shard does with a record, a little later.
func (p *pipeline) process(at int, data []byte) {
	p.mu.Lock()
	stands, f := p.stands, telemetry.ParseFields(data)
	bad, after := p.bad(f.ID), time.Duration(p.random.IntN(2000))*time.Millisecond
	p.mu.Unlock()
	if stands {
		return
	}
	time.Sleep(after)
	for bad {
		if _, err := p.add(ledger.Bulk, at, "still_bad", data); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.docs[f.DocID]++
}

// Do is that of the index.
func (p *pipeline) Do(ctx context.Context, b *sink.Bulk) sink.Result {
	ids := made.Documents(b)
	backoff.Wait(ctx, 50*time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fickle && p.random.IntN(4) == 0 {
		return sink.Result{Class: outcome.Transient, Overloaded: true, Error: outcome.Error{Type: "made_up", Status: 429}}
	}
	names := ids1000()
	if p.fickle && len(ids) > 1 && slices.ContainsFunc(ids, func(id telemetry.DocID) bool { return p.bad(names[id.String()]) && p.random.IntN(2) == 0 }) {
		return sink.Result{Class: outcome.Refused, Error: outcome.Error{Type: "whole", Status: 400}}
	}
	var items []sink.Item
	for n, id := range ids {
		switch doc := id.String(); {
		case p.bad(names[doc]):
			items = append(items, sink.Item{Position: n, Class: outcome.Poison, Error: outcome.Error{Type: "still_bad", Reason: "'x'", Status: 400}})
		case p.docs[doc] > 0:
			items = append(items, sink.Item{Position: n, Class: outcome.Indexed, Duplicate: true})
		default:
			p.docs[doc]++
		}
	}
	return sink.Result{Class: outcome.Indexed, Items: items}
}

// ids1000 are the ids of the first records, by document.
var ids1000 = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	for n := range 1000 {
		names[made.DocOf(n)] = fmt.Sprint(n)
	}
	return names
})

// places counts, by id, the open entries in which a record stands that has not
// ended well.
func (p *pipeline) places() map[string]int {
	p.t.Helper()
	open := map[string]int{}
	for _, e := range p.entries() {
		for _, r := range e.Records {
			if len(r.Data) > 0 && r.Ended == "" && e.Resolution == nil {
				open[r.ID]++
			}
		}
	}
	return open
}

// conserved fails unless each record is indexed, or in an open entry.
func (p *pipeline) conserved(records int) {
	p.t.Helper()
	open := p.places()
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := range records {
		if id := fmt.Sprint(n); open[id] == 0 && p.docs[made.DocOf(n)] == 0 {
			p.t.Fatalf("record %s is neither indexed nor in an open entry", id)
		}
		if p.docs[made.DocOf(n)] > 1 && p.puts[fmt.Sprint(n)] == 0 {
			p.t.Fatalf("record %d was created twice", n)
		}
	}
}

// run calls ReprocessEntries once, for so long.
func (p *pipeline) run(in ReprocessCall, long time.Duration) (ReprocessProgress, error) {
	ctx, cancel := context.WithTimeout(context.Background(), long)
	defer cancel()
	in.Stream, in.For = made.Stream.Name, time.Hour
	if in.Settle == 0 {
		in.Settle = time.Minute
	}
	if in.Select.Stream == "" {
		in.Select.Stream = in.Stream
	}
	call := newReprocessing(p.reprocessor(), in, longcall.Within(ctx, context.Background()))
	err := call.run()
	if errors.Is(err, longcall.ErrStopped) {
		err = nil
	}
	call.tell()
	return call.live(), err
}
