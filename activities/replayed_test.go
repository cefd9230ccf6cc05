package activities

import (
	"testing"
	"time"

	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// TestReplayedRecordsPassTheCache: a disaster may have deleted what the cache
// remembers, and they count in no delay.
func TestReplayedRecordsPassTheCache(t *testing.T) {
	t.Parallel()
	p := newWorld(1, 0).processor()
	for n := range 2 {
		known, err := telemetry.Parse(record(n))
		if err != nil {
			t.Fatal(err)
		}
		p.Seen.Mark(p.Seen.Generation(), known.DocID, 1)
	}
	c := &chunk{records: []stream.Record{
		{Data: record(0)}, {Data: record(1), Replayed: true}, {Data: record(2)}, {Data: record(3), Replayed: true},
	}}
	c.sort(p.Seen, time.Now())
	if len(c.at) != 3 || c.at[0] != 1 || c.counts.Earlier() != 1 {
		t.Errorf("of four records %v are sent, %+v", c.at, c.counts)
	}
	s := newSettler(t.Context(), p, "shard")
	defer s.abandon()
	if again := s.outcomes(c, c.at, []sink.Item{}, p.Seen.Generation(), false); len(again) > 0 || c.counts.Indexed != 3 {
		t.Errorf("%v are sent again, %+v", again, c.counts)
	}
	if got := p.Delay.Recent(); got.Count != 1 {
		t.Errorf("the delay is of %d records, one is live", got.Count)
	}
}
