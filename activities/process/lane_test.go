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

	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

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
	all, held := sequences(c.Records), c.bytes
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
		if !in.gaps || in.Priority != limiter.Yielding || in.bytes != p.size {
			t.Errorf("part %d: gaps %t, priority %s, %d bytes", n, in.gaps, in.Priority, in.bytes)
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
		s := sorting{chunk: &chunk{}, slow: []bool{false}}
		for n, percent := range c.wants {
			s.Records = append(s.Records, stream.Record{Data: make([]byte, quickBytes*percent/100-indexing.RecordOverhead)})
			s.Tenants.Add(fmt.Append(nil, n))
			s.Indices.Add(nil)
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
	w := calmBackends(0)
	entries := &entriesOf{backends: w}
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
		t.Errorf("given up are %+v", entries.dead)
	}
}

// entriesOf keeps the dead letters.
type entriesOf struct {
	*backends
	dead []deadletter.Group
}

func (e *entriesOf) Write(ctx context.Context, dead []deadletter.Group) error {
	e.dead = append(e.dead, dead...)
	return e.backends.Write(ctx, dead)
}

func TestALaneEnds(t *testing.T) {
	t.Parallel()
	l := newLane()
	l.add([]*part{{size: 1}, {size: 2}})
	l.close()
	for want := 1; want <= 2; want++ {
		if next, ok := l.next(t.Context()); !ok || next.size != want {
			t.Errorf("part %d: %+v, %t", want, next, ok)
		}
	}
	for range 2 {
		if next, ok := l.next(t.Context()); ok || next != nil {
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
			w, random := newBackends(seed, 0), rand.New(rand.NewPCG(seed, 5))
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
func (w *backends) addFlood(random *rand.Rand) {
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
