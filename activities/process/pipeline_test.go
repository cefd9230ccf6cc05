package process

import (
	"testing"
	"time"

	"millrace/internal/circuit"
	"millrace/internal/container"
	"millrace/internal/indexing"
	"millrace/internal/limiter"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// The memory of a page goes back once, with the last of its records, however
// they were spread over chunks.
func TestMemoryGoesBackWithTheLastRecord(t *testing.T) {
	t.Parallel()
	returned := map[string]int{}
	lend := func(name string, records int64) *loan {
		l := &loan{release: func() { returned[name]++ }}
		l.left.Store(records)
		return l
	}
	first, second := lend("first", 3), lend("second", 2)
	var one, other loans
	for _, from := range []*loan{first, first, second} {
		one.add(from)
	}
	for _, from := range []*loan{first, second} {
		other.add(from)
	}
	other.giveBack()
	if len(returned) > 0 {
		t.Errorf("with records still in use, %v went back", returned)
	}
	one.giveBack()
	one.giveBack()
	if returned["first"] != 1 || returned["second"] != 1 {
		t.Errorf("%v went back", returned)
	}
}

// TestAChunkKeepsWithinTheBoundsOfABulk cuts what is there, by count and by
// bytes; a record that is larger than a bulk goes alone.
func TestAChunkKeepsWithinTheBoundsOfABulk(t *testing.T) {
	t.Parallel()
	size := len(made.Record(0))
	for name, c := range map[string]struct{ records, bytes, want int }{
		"by count":              {records: 3, bytes: 100 * size, want: 3},
		"by bytes":              {records: 100, bytes: 3 * size, want: 3},
		"one byte less":         {records: 100, bytes: 3*size - 1, want: 2},
		"a record alone":        {records: 100, bytes: 1, want: 1},
		"all that there is":     {records: 100, bytes: 100 * size, want: 10},
		"the defaults take all": {want: 10},
	} {
		w := newBackends(1, 0)
		processor := w.processor()
		processor.Indexer.Limiter, processor.Limits.BulkRecords = limiter.New(1, c.bytes), c.records
		p := newPipeline(t.Context(), New(*processor), "shard", circuit.New(circuit.Settings{}), newMark(telemetry.Checkpoint{}, indexing.Counts{}))
		lent := &loan{release: func() {}}
		for n := range 10 {
			portion := page{records: []stream.Record{{Sequence: made.Sequence(n), Data: made.Record(0)}}, loan: lent}
			p.pages <- portion
		}
		var taken chunk
		if p.cut(&taken, &loans{}); len(taken.Records) != c.want {
			t.Errorf("%s: %d records, want %d", name, len(taken.Records), c.want)
		}
	}
}

// pipelineOf makes a pipeline whose chunks have so many records.
func pipelineOf(t *testing.T, bulkRecords int) *pipeline {
	t.Helper()
	processor := newBackends(1, 0).processor()
	processor.Limits.BulkRecords = bulkRecords
	return newPipeline(t.Context(), New(*processor), "shard", circuit.New(circuit.Settings{}), newMark(telemetry.Checkpoint{}, indexing.Counts{}))
}

// packed is a container of documents, as the n-th record of the shard.
func packed(n, documents int) stream.Record {
	var all [][]byte
	for d := range documents {
		all = append(all, made.Record(100*n+d))
	}
	return stream.Record{Sequence: made.Sequence(n), Data: container.AppendPack(nil, all)}
}

func TestNoCheckpointStandsInAContainer(t *testing.T) {
	t.Parallel()
	p := pipelineOf(t, 3)
	whole := stream.Page{Records: []stream.Record{
		packed(1, 5), {Sequence: made.Sequence(2), Data: made.Record(0)}, packed(3, 0), packed(4, 3), packed(5, 0),
	}}
	read := telemetry.Checkpoint{ReadUpTo: time.Now()}
	if !p.pass(whole, read) {
		t.Fatal("it does not pass the page")
	}
	for n, want := range []struct {
		first string
		end   telemetry.Checkpoint
	}{
		{telemetry.Position(made.Sequence(1), 1), telemetry.Checkpoint{}},
		{telemetry.Position(made.Sequence(1), 4), telemetry.Checkpoint{Sequence: made.Sequence(2)}},
		{telemetry.Position(made.Sequence(4), 1), telemetry.Checkpoint{Sequence: made.Sequence(4), ReadUpTo: read.ReadUpTo}},
	} {
		c := &chunk{}
		end := p.cut(c, &loans{})
		if len(c.Records) != 3 || c.Records[0].Sequence != want.first || end != want.end {
			t.Errorf("chunk %d has %d records from %s and ends at %+v, want 3 from %s, and %+v", n, len(c.Records), c.Records[0].Sequence, end, want.first, want.end)
		}
	}
}

func TestContainersTakeTheMemoryOfTheirDocuments(t *testing.T) {
	t.Parallel()
	damaged := packed(3, 3)
	damaged.Data = damaged.Data[:len(damaged.Data)-1]
	for name, c := range map[string]struct {
		records   []stream.Record
		documents int
	}{
		"many small":         {[]stream.Record{packed(1, 90)}, 90},
		"beside singles":     {[]stream.Record{{Data: made.Record(0)}, packed(1, 3), {Data: made.Record(1)}}, 5},
		"empty":              {[]stream.Record{packed(1, 0)}, 0},
		"damaged goes as is": {[]stream.Record{damaged}, 1},
	} {
		p, returned := pipelineOf(t, 1000), 0
		from := &loan{release: func() { returned++ }}
		from.left.Store(int64(len(c.records)))
		portion, n, ok := p.portion(c.records, from)
		documents := portion.records
		if !ok || n != len(c.records) || len(documents) != c.documents {
			t.Fatalf("%s: %d documents of %d records, %t", name, len(documents), n, ok)
		}
		taken := 0
		for _, d := range documents {
			taken += indexing.Memory(d)
		}
		room := int64(p.work.processor.Limits.PrefetchBytes - taken)
		if p.held.TryAcquire(room + 1) {
			t.Errorf("%s: less than %d bytes are held", name, taken)
		} else if !p.held.TryAcquire(room) {
			t.Errorf("%s: more than %d bytes are held", name, taken)
		}
		if len(documents) > 0 {
			portion.loan.settle(int64(len(documents)))
		}
		if returned != 1 {
			t.Errorf("%s: the page went back %d times", name, returned)
		}
	}
}
