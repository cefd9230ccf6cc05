package process

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/circuit"
	"millrace/internal/indexing"
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
	place, err := w.run.Place(c.Priority)
	if err == nil {
		err = w.run.Index(c, place)
	}
	if err != nil || !p.Indexer.Knows(index) {
		t.Fatalf("%s has not answered: %v", index, err)
	}
}

// lineUp makes a pipeline that reads the posts, in pages of so many.
func lineUp(t *testing.T, perPage int, posts ...post) lined {
	t.Helper()
	p := calmBackends(0).processor()
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
	c, _, ok := l.nextChunk(&from)
	if !ok {
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
