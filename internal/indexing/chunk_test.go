package indexing

import (
	"testing"
	"time"

	"millrace/internal/dedup"
	"millrace/internal/limiter"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// TestReplayedRecordsPassTheCache: a disaster may have deleted what the cache
// remembers, and they count in no delay.
func TestReplayedRecordsPassTheCache(t *testing.T) {
	t.Parallel()
	server := &digested{documents: map[string]telemetry.Digest{}}
	p := New(Settings{Bulk: server, Lookup: server, Limiter: limiter.New(1, 0), Seen: dedup.New(1000)})
	for n := range 2 {
		known, err := telemetry.Parse(made.Record(n))
		if err != nil {
			t.Fatal(err)
		}
		p.Seen.Mark(p.Seen.Generation(), known.DocID, 1)
	}
	c := &Chunk{Records: []stream.Record{
		{Data: made.Record(0)}, {Data: made.Record(1), Replayed: true}, {Data: made.Record(2)}, {Data: made.Record(3), Replayed: true},
	}}
	c.sort(p, time.Now())
	if len(c.at) != 3 || c.at[0] != 1 || c.Counts.Earlier() != 1 {
		t.Errorf("of four records %v are sent, %+v", c.at, c.Counts)
	}
	s := begin(t, p)
	if again := s.outcomes(c, c.at, []sink.Item{}, p.Seen.Generation(), false); len(again) > 0 || c.Counts.Indexed != 3 {
		t.Errorf("%v are sent again, %+v", again, c.Counts)
	}
	if got := p.Delay.Recent(); got.Count != 1 {
		t.Errorf("the delay is of %d records, one is live", got.Count)
	}
}
