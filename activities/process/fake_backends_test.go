package process

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"millrace/internal/backoff"
	"millrace/internal/circuit"
	"millrace/internal/deadletter"
	"millrace/internal/dedup"
	"millrace/internal/delay"
	"millrace/internal/indexing"
	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/bucket"
	"millrace/test/kit/made"
	"millrace/test/kit/shard"
)

// backends is everything around a pipeline. It fails at random, and keeps a
// record of its own of where each record is durable.
type backends struct {
	*shard.Shard
	mu         sync.Mutex
	random     *rand.Rand
	ledgerDown error
	docs       []telemetry.DocID        // of each record; zero for a foreign one
	ids        map[telemetry.DocID]bool // indexed
	durable    map[string]string        // sequence number: where
	fails      func() outcome.Class     // of whole requests; Indexed for none
	item       func(id telemetry.DocID) outcome.Class
	whole      func(ids []telemetry.DocID) bool // refuses requests
	sizes      []int                            // of the bulks, in documents
	retention  time.Duration
	lost       []telemetry.Range
}

// newBackends has a shard of records, one in three a duplicate of an earlier one
// and one in fifty foreign.
func newBackends(seed uint64, count int) *backends {
	w := &backends{Shard: shard.New(seed), random: rand.New(rand.NewPCG(seed, 2)), ids: map[telemetry.DocID]bool{}, durable: map[string]string{}}
	w.fails = func() outcome.Class { return outcome.Indexed }
	w.item = func(telemetry.DocID) outcome.Class { return outcome.Indexed }
	for n := range count {
		r := stream.Record{Sequence: made.Sequence(n), Arrived: time.Unix(int64(n), 0), Data: made.Record(n)}
		switch {
		case w.random.IntN(50) == 0:
			r.Data = []byte(`{"not":"ours"}`)
		case n > 0 && w.random.IntN(3) == 0:
			r.Data = w.Records[w.random.IntN(n)].Data
		}
		w.Records = append(w.Records, r)
		parsed, _ := telemetry.Parse(r.Data) // fails for foreign ones
		w.docs = append(w.docs, parsed.DocID)
	}
	return w
}

func (w *backends) processor() *Processor {
	return New(Processor{
		Stream: telemetry.StreamID{Name: "s", ARN: "arn:s"}, Source: w, Batches: w, DeadLetters: w, Ledger: ledger.New(bucket.New(), "s"), Worker: "test",
		Indexer: indexing.New(indexing.Settings{
			Bulk: w, Lookup: w, Limiter: limiter.New(8, 0), Seen: dedup.New(10_000), Delay: delay.New(), CompareRate: DefaultCompareRate,
		}),
		Limits: Limits{BulkRecords: 40},
	})
}

// chance is true with one in n, until the world is calm.
func (w *backends) chance(n int) bool { return !w.Calm && w.random.IntN(n) == 0 }

func (w *backends) CurrentRetention(context.Context) time.Duration { return w.retention }

func (w *backends) Do(ctx context.Context, b *sink.Bulk) sink.Result {
	ids := made.Documents(b)
	w.mu.Lock()
	class := outcome.Indexed
	if !w.Calm {
		class = w.fails()
	}
	if w.whole != nil {
		w.mu.Unlock()
		refused := w.whole(ids) // or panics
		w.mu.Lock()
		if refused {
			class = outcome.Refused
		}
	}
	took := time.Duration(w.random.IntN(200)) * time.Millisecond
	applied := class == outcome.Indexed || class == outcome.Transient && w.random.IntN(2) == 0 // and no answer arrived
	panics := w.chance(60)
	w.sizes = append(w.sizes, len(ids))
	w.mu.Unlock()
	if !backoff.Wait(ctx, took) {
		return sink.Result{Class: outcome.Transient, Error: outcome.Error{Type: "canceled"}}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if panics {
		panic("the answer could not be read")
	}
	result := sink.Result{Class: class, Took: took, Bytes: b.Size(), Overloaded: class == outcome.Transient, Error: outcome.Error{Type: "made_up", Status: 429}}
	if !applied {
		return result
	}
	result.Items = w.apply(ids)
	if class != outcome.Indexed {
		result.Items = nil
	}
	return result
}

func (w *backends) Find(_ context.Context, documents []sink.Reference) ([]sink.Found, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	found := make([]sink.Found, len(documents))
	for n, d := range documents {
		id, err := telemetry.ParseDocID([]byte(d.ID))
		found[n].There = err == nil && w.ids[id]
	}
	return found, nil
}

// apply indexes documents and says what became of those that were not created.
func (w *backends) apply(ids []telemetry.DocID) (items []sink.Item) {
	for position, id := range ids {
		item := sink.Item{Position: position, Class: w.item(id), Error: outcome.Error{Type: "made_up", Reason: id.String()}}
		switch {
		case item.Class != outcome.Indexed:
			items = append(items, item)
		case w.ids[id]:
			item.Duplicate = true
			items = append(items, item)
		default:
			w.ids[id] = true
		}
	}
	return items
}

func (w *backends) indexed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ids)
}

func (w *backends) Write(_ context.Context, dead []deadletter.Group) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chance(4) {
		return errors.New("the ledger cannot be reached")
	}
	if w.ledgerDown != nil {
		return w.ledgerDown
	}
	for _, run := range dead {
		if run.Range.Count != len(run.Records) || len(run.Causes) != len(run.Records) ||
			run.Range.First != run.Records[0].Sequence || run.Range.Last != run.Records[len(run.Records)-1].Sequence {
			panic(fmt.Sprintf("%s holds %d records and %d causes", run.Range, len(run.Records), len(run.Causes)))
		}
		for _, r := range run.Records {
			w.durable[r.Sequence] = "ledger"
		}
	}
	return nil
}

func (w *backends) WriteLoss(_ context.Context, r telemetry.Range, cause outcome.Error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if cause.Type == outcome.TypePossibleLoss {
		w.lost = append(w.lost, r)
	}
	return nil
}

func (w *backends) StartBatch(_ context.Context, _ telemetry.StreamID, r telemetry.Range, _ outcome.Error, _ time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chance(4) {
		return errors.New("Temporal cannot be reached")
	}
	records, _ := w.Fetch(context.Background(), r)
	if len(records) < r.Count { // of what was merged there are more
		panic(fmt.Sprintf("%s holds %d records", r, len(records)))
	}
	for _, record := range records {
		w.durable[record.Sequence] = "batch"
	}
	return nil
}

// check fails when the mark has passed a record that is durable nowhere, or
// when the counts do not add up.
func (w *backends) check(t *testing.T, state markState) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	passed := int64(0)
	for n, r := range w.Records {
		if state.checkpoint.Sequence == "" || telemetry.ComparePositions(r.Sequence, state.checkpoint.Sequence) > 0 {
			break
		}
		passed++
		if !w.ids[w.docs[n]] && w.durable[r.Sequence] == "" {
			t.Fatalf("the mark is at %s, and %s is durable nowhere", state.checkpoint.Sequence, r.Sequence)
		}
	}
	c := state.counts
	if c.Records != passed || c.Records != c.Indexed+c.Earlier()+c.DeadLetters+c.HandedOver {
		t.Fatalf("%d records were passed, the counts are %+v", passed, c)
	}
}

// process processes the shard by calls that are stopped at any moment, and looks
// all the time whether the mark is where it may be.
func (w *backends) process(t *testing.T, p *Processor, random *rand.Rand, look func(*pipeline)) indexing.Counts {
	t.Helper()
	at, counts := telemetry.Checkpoint{}, indexing.Counts{}
	for calls := 0; !at.Closed; calls++ {
		if calls == 200 {
			t.Fatalf("still at %+v", at)
		}
		m := newMark(at, counts)
		line := newPipeline(t.Context(), p, "shard", circuit.New(circuit.Settings{}), m)
		finished := make(chan struct{})
		go func() {
			defer close(finished)
			line.run(p.Source.Read("shard", at))
		}()
		stop := time.After(time.Duration(random.IntN(5000)) * time.Millisecond)
		for done := false; !done; {
			select {
			case <-finished:
				done = true
			case <-stop:
				line.work.call.Stop(longcall.ErrCanceled)
				if random.IntN(2) == 0 {
					line.work.call.Abandon()
				}
			case <-time.After(50 * time.Millisecond):
				w.check(t, m.state())
				look(line)
			}
		}
		line.work.call.Abandon()
		w.check(t, m.state())
		at, counts = m.state().checkpoint, m.state().counts
	}
	return counts
}
