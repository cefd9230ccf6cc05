package audit

import (
	"testing"
	"time"

	"millrace/internal/load"
)

// Who belongs into the ledger is for the sender to say; an excuse is not one
// for a record that is nowhere.
func TestSenderDecidesWhichRecordsAreDead(t *testing.T) {
	t.Parallel()
	source := &load.Source{Run: "r", Start: time.Now(), Interval: time.Millisecond}
	all := func(numbers ...uint64) *load.Set {
		set := new(load.Set)
		for _, n := range numbers {
			set.Add(n)
		}
		return set
	}
	dead := func(n uint64) bool { return n == 3 }
	for name, c := range map[string]struct {
		sent Sent
		want Report
	}{
		"the source says":  {Sent{}, Report{Accepted: 4, Indexed: 1, DeadLettered: 2, Lost: 1, Misjudged: 2}},
		"the sender says":  {Sent{Dead: dead}, Report{Accepted: 4, Indexed: 1, DeadLettered: 2, Lost: 1, Misjudged: 1, Bad: 1}},
		"all are excused":  {Sent{Excused: true}, Report{Accepted: 4, Indexed: 1, DeadLettered: 2, Lost: 1, Excused: 2}},
		"some are excused": {Sent{Dead: dead, Excused: true}, Report{Accepted: 4, Indexed: 1, DeadLettered: 2, Lost: 1, Bad: 1, Excused: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.sent.Source, c.sent.Accepted = source, all(1, 2, 3, 4)
			a := &audit{senders: []Sent{c.sent}, indexed: []*load.Set{all(1)}, dead: []*load.Set{all(2, 3)}}
			a.conclude()
			got := a.Report
			got.Findings = nil
			if got.Accepted != c.want.Accepted || got.Indexed != c.want.Indexed || got.DeadLettered != c.want.DeadLettered || got.Lost != c.want.Lost ||
				got.Misjudged != c.want.Misjudged || got.Bad != c.want.Bad || got.Excused != c.want.Excused || a.Clean() == nil {
				t.Errorf("the report is %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestTimestampFarAheadIsKeptUnderOtherName: its document is as old as its arrival.
func TestTimestampFarAheadIsKeptUnderOtherName(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ posted, document, want string }{
		"as it is":             {`{"timestamp":"2026-11-29T01:00:00Z"}`, `{"received_at":"2026-11-29T01:02:03.450Z","@timestamp":"2026-11-29T01:00:00Z"}`, ""},
		"another":              {`{"timestamp":"2026-11-29T01:00:00Z"}`, `{"received_at":"2026-11-29T01:02:03.450Z","@timestamp":"2026-11-29T01:02:03.45Z"}`, "@timestamp"},
		"far ahead":            {`{"timestamp":"2033-05-01T08:00:00Z"}`, `{"received_at":"2026-11-29T01:02:03.450Z","@timestamp":"2026-11-29T01:02:03.45Z","original_timestamp":"2033-05-01T08:00:00Z"}`, ""},
		"far ahead, not kept":  {`{"timestamp":"2033-05-01T08:00:00Z"}`, `{"received_at":"2026-11-29T01:02:03.450Z","@timestamp":"2026-11-29T01:02:03.45Z"}`, "original_timestamp"},
		"a day ahead, and not": {`{"timestamp":"2026-11-30T01:00:00Z"}`, `{"received_at":"2026-11-29T01:02:03.450Z","@timestamp":"2026-11-29T01:02:03.45Z","original_timestamp":"2026-11-30T01:00:00Z"}`, "@timestamp"},
	} {
		if got := difference([]byte(c.posted), []byte(c.document)); got != c.want {
			t.Errorf("%s: it differs in %q, want %q", name, got, c.want)
		}
	}
}
