package process

import (
	"testing"

	"millrace/internal/circuit"
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
