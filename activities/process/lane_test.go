package process

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/circuit"
	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// lined is a pipeline that has read some records, and takes chunks of them.
type lined struct {
	*pipeline
	lent map[string]int // how often the memory of a page went back
}

// post is a record that a pipeline is to read.
type post struct {
	tenant, index, id, earlier string
	bytes                      int // of its body
}

const knownIndex = "telemetry-span-2026.11.23"

// answered lets an index answer a bulk.
func answered(t *testing.T, p *Processor, index string) {
	t.Helper()
	w := p.begin(t.Context(), "shard")
	defer w.call.Abandon()
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	c := &indexing.Chunk{Records: []stream.Record{{Data: telemetry.AppendRecord(nil, telemetry.Head{
		Index: index, ReceivedAt: at, Tenant: "a", ID: "answered", Type: "span", Timestamp: at,
	}, []byte(`{}`))}}}
	place, err := w.run.Place(c)
	if err == nil {
		err = w.run.Index(c, place)
	}
	if err != nil || !p.Indexer.Knows([]byte(index)) {
		t.Fatalf("%s has not answered: %v", index, err)
	}
}

// lineUp makes a pipeline that reads the posts, in pages of so many.
func lineUp(t *testing.T, perPage int, posts ...post) lined {
	t.Helper()
	p := calmWorld(0).processor()
	p.Limits.BulkRecords = DefaultBulkRecords
	answered(t, p, knownIndex)
	l := lined{newPipeline(t.Context(), p, "shard", circuit.New(circuit.Settings{}), newMark(telemetry.Checkpoint{}, indexing.Counts{})), map[string]int{}}
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	var records []stream.Record
	for n, post := range posts {
		data := telemetry.AppendRecord(nil, telemetry.Head{
			Index: post.index, Own: knownIndex, Earlier: post.earlier, ReceivedAt: at, Tenant: post.tenant, ID: post.id, Type: "span", Timestamp: at,
		}, fmt.Appendf(nil, `{"x":%q}`, strings.Repeat("x", post.bytes)))
		records = append(records, stream.Record{Sequence: made.Sequence(n), Arrived: at, Data: data})
	}
	for portion := range slices.Chunk(records, perPage) {
		name := portion[0].Sequence
		from := &loan{release: func() { l.lent[name]++ }}
		from.left.Store(int64(len(portion)))
		last := portion[len(portion)-1]
		l.pages <- page{portion, telemetry.Checkpoint{Sequence: last.Sequence, Arrived: last.Arrived, ReadUpTo: last.Arrived}, from}
	}
	return l
}

// posts are so many of a tenant for a known index.
func posts(tenant string, count, bytes int) (all []post) {
	for n := range count {
		all = append(all, post{tenant: tenant, index: knownIndex, id: fmt.Sprint(tenant, n), bytes: bytes})
	}
	return all
}

// sequences are those of a chunk's records.
func sequences(records []stream.Record) (all []string) {
	for _, r := range records {
		all = append(all, r.Sequence)
	}
	return all
}

// takeAll takes one chunk, and what it leaves in the lane.
func (l lined) takeAll(t *testing.T) (c *chunk, from loans, parts []*part) {
	t.Helper()
	c = &chunk{}
	if _, ok := l.take(c, &from); !ok {
		t.Fatal("nothing was taken")
	}
	for {
		next, _ := l.lane.first()
		if next == nil {
			return c, from, parts
		}
		parts = append(parts, next)
	}
}

func TestAFloodYieldsToOthersOfItsChunk(t *testing.T) {
	t.Parallel()
	flood := posts("flood", 4000, 300)
	honest := posts("honest", 10, 300)
	l := lineUp(t, 700, slices.Concat(flood[:3000], honest, flood[3000:])...)
	c, from, parts := l.takeAll(t)
	if len(c.Records) != len(honest) || c.Records[0].Sequence != made.Sequence(3000) || !c.gaps {
		t.Fatalf("%d records go at once, gaps: %t", len(c.Records), c.gaps)
	}
	if len(parts) < 2 {
		t.Errorf("the flood is in %d parts", len(parts))
	}
	all, held := sequences(c.Records), c.Bytes
	for _, p := range parts {
		if limit := quickBytes + indexing.Memory(p.records[0]); p.size > limit {
			t.Errorf("a part has %d bytes, more than %d", p.size, limit)
		}
		all, held = append(all, sequences(p.records)...), held+p.size
	}
	slices.Sort(all)
	if whole := len(flood) + len(honest); len(all) != whole || len(slices.Compact(all)) != whole {
		t.Fatalf("%d records were taken, want each of %d once", len(all), whole)
	}
	// The mark, the memory and the bytes held wait for the last part.
	l.mark.end(c.stretch, indexing.Counts{Records: int64(len(c.Records))})
	from.giveBack()
	for n, p := range parts {
		if state := l.mark.state(); state.checkpoint.Sequence != "" {
			t.Fatalf("with %d parts open, the mark is at %s", len(parts)-n, state.checkpoint.Sequence)
		}
		var in chunk
		p.into(&in)
		if !in.gaps || in.Priority != limiter.Yielding || in.Bytes != p.size {
			t.Errorf("part %d: gaps %t, priority %s, %d bytes", n, in.gaps, in.Priority, in.Bytes)
		}
		l.mark.end(in.stretch, indexing.Counts{Records: int64(len(in.Records))})
		p.from.giveBack()
	}
	if state := l.mark.state(); state.checkpoint.Sequence != made.Sequence(len(flood)+len(honest)-1) || state.counts.Records != int64(len(all)) {
		t.Errorf("in the end the mark is at %+v", state)
	}
	if len(l.lent) != 6 {
		t.Errorf("the memory of %d pages went back", len(l.lent))
	}
	for name, times := range l.lent {
		if times != 1 {
			t.Errorf("the page of %s went back %d times", name, times)
		}
	}
}

// TestWhatYieldsToNoneStaysWhole lists chunks that are sent as they are.
func TestWhatYieldsToNoneStaysWhole(t *testing.T) {
	t.Parallel()
	old := post{tenant: "a", index: "telemetry-span-2020", id: "y", earlier: knownIndex}
	for name, of := range map[string][]post{
		"one tenant":                  posts("a", 4000, 300),
		"tenants of about one volume": slices.Concat(posts("a", 1500, 300), posts("b", 1600, 300), posts("c", 1700, 300)),
		"a little of each":            slices.Concat(posts("a", 300, 300), posts("b", 3, 300)),
		"indices that are all new":    {old, {tenant: "b", index: "telemetry-log-2020", id: "z"}},
		"a resend behind its post":    append([]post{{tenant: "a", index: knownIndex, id: "y"}}, old),
	} {
		l := lineUp(t, 10_000, of...)
		c, _, parts := l.takeAll(t)
		if len(c.Records) != len(of) || len(parts) > 0 || c.gaps {
			t.Errorf("%s: %d records go at once, %d parts wait", name, len(c.Records), len(parts))
		}
	}
}

func TestRecordsOfANewIndexYield(t *testing.T) {
	t.Parallel()
	old := post{tenant: "a", index: "telemetry-span-2020", id: "y", earlier: knownIndex}
	l := lineUp(t, 100, append(posts("a", 3, 10), old, post{tenant: "b", index: knownIndex, id: "z"})...)
	c, _, parts := l.takeAll(t)
	if len(c.Records) != 4 || len(parts) != 1 || !slices.Equal(sequences(parts[0].records), []string{made.Sequence(3)}) {
		t.Fatalf("%d records go at once, parts: %v", len(c.Records), parts)
	}
	// Once the index has answered, nothing waits for it.
	answered(t, l.work.processor, "telemetry-span-2020")
	l.pages <- page{slices.Concat(c.Records, parts[0].records), telemetry.Checkpoint{}, &loan{release: func() {}}}
	if c, _, parts := l.takeAll(t); len(c.Records) != 5 || len(parts) > 0 {
		t.Errorf("%d records go at once, %d parts wait", len(c.Records), len(parts))
	}
}

// TestSharesAreMaxMinFair weighs tenants: who wants less than an equal share gets
// all of it, and the rest is shared by the others.
func TestSharesAreMaxMinFair(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		wants []int // of quickBytes, in percent
		large []bool
	}{
		"one that fits":               {[]int{90}, []bool{false}},
		"one that does not":           {[]int{110}, []bool{true}},
		"a small one beside":          {[]int{10, 300}, []bool{false, true}},
		"what the small ones leave":   {[]int{300, 10, 40}, []bool{true, false, false}},
		"too much for an equal share": {[]int{10, 50, 51}, []bool{false, true, true}},
	} {
		s := sorting{chunk: &chunk{}}
		for n, percent := range c.wants {
			s.Records = append(s.Records, stream.Record{Data: make([]byte, quickBytes*percent/100-indexing.RecordOverhead)})
			s.slow = append(s.slow, false)
			s.tenants.Add(fmt.Append(nil, n))
		}
		if s.weigh(); !slices.Equal(s.large, c.large) {
			t.Errorf("%s: large: %v, want %v", name, s.large, c.large)
		}
	}
}

// The dead of a part are not neighbours, although they stand side by side in it:
// an entry for the stretch between them would hide records that are alive.
func TestTheDeadOfAPartAreListed(t *testing.T) {
	t.Parallel()
	w := calmWorld(0)
	entries := &entriesOf{world: w}
	p := w.processor()
	p.DeadLetters = entries
	d := &deadLetters{writer: entries, call: longcall.Begin(t.Context()), stream: p.Stream, shard: "shard"}
	c := &chunk{gaps: true}
	for _, n := range []int{0, 2, 4} {
		w.add(n, "a")
		c.Records = append(c.Records, w.Records[len(w.Records)-1])
	}
	c.Dead = []indexing.Verdict{{At: 0}, {At: 1}, {At: 2}}
	if !d.writeChunk(c) || len(entries.dead) != 1 || !entries.dead[0].Sparse || len(entries.dead[0].Records) != 3 {
		t.Errorf("buried %+v", entries.dead)
	}
}

// entriesOf keeps what is buried.
type entriesOf struct {
	*world
	dead []deadletter.Group
}

func (e *entriesOf) Write(ctx context.Context, dead []deadletter.Group) error {
	e.dead = append(e.dead, dead...)
	return e.world.Write(ctx, dead)
}

func TestALaneEnds(t *testing.T) {
	t.Parallel()
	l := newLane()
	l.add([]*part{{size: 1}, {size: 2}})
	l.close()
	for want := 1; want <= 2; want++ {
		if next, ok := l.take(t.Context()); !ok || next.size != want {
			t.Errorf("part %d: %+v, %t", want, next, ok)
		}
	}
	for range 2 {
		if next, ok := l.take(t.Context()); ok || next != nil {
			t.Errorf("behind the last part: %+v, %t", next, ok)
		}
	}
}

// TestTheLaneKeepsTheMark processes a shard in which one tenant floods and others
// name indices that are new, while everything fails at random and calls are
// stopped at any moment, and looks at the mark all the time.
func TestTheLaneKeepsTheMark(t *testing.T) {
	t.Parallel()
	yielded := false
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			w, random := newWorld(seed, 0), rand.New(rand.NewPCG(seed, 5))
			w.addFlood(random)
			w.fails = func() outcome.Class {
				return []outcome.Class{outcome.Indexed, outcome.Indexed, outcome.Indexed, outcome.Transient, outcome.Refused}[w.random.IntN(5)]
			}
			w.item = func(id telemetry.DocID) outcome.Class {
				if id[0] < 12 {
					return outcome.Poison
				}
				return outcome.Indexed
			}
			p := w.processor()
			p.Limits.BulkRecords = 500
			counts := w.process(t, p, random, func(line *pipeline) {
				line.lane.mu.Lock()
				defer line.lane.mu.Unlock()
				yielded = yielded || len(line.lane.parts) > 0
			})
			if counts.Records != int64(len(w.Records)) || counts.DeadLetters == 0 {
				t.Fatalf("seed %d: in the end the counts are %+v", seed, counts)
			}
		})
	}
	if !yielded {
		t.Error("nothing was ever in the lane")
	}
}

// addFlood adds records of one tenant that are many and large, and a few of others.
func (w *world) addFlood(random *rand.Rand) {
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	for n := range 800 {
		head := telemetry.Head{Index: knownIndex, ReceivedAt: at, Tenant: "flood", ID: fmt.Sprint(n), Type: "span", Timestamp: at}
		size := 5000
		switch random.IntN(10) {
		case 0:
			head.Tenant, size = "honest", 10
		case 1:
			head.Tenant, head.Index, size = "historian", fmt.Sprintf("telemetry-span-%d", 2000+n), 10
		}
		data := telemetry.AppendRecord(nil, head, fmt.Appendf(nil, `{"x":%q}`, strings.Repeat("x", size)))
		parsed, _ := telemetry.Parse(data)
		w.Records = append(w.Records, stream.Record{Sequence: made.Sequence(n), Arrived: time.Unix(int64(n), 0), Data: data})
		w.docs = append(w.docs, parsed.DocID)
	}
}
