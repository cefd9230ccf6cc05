package audit

import (
	"testing"
	"time"

	"millrace/internal/load"
)

// Who belongs into the ledger is for the sender to say; an excuse is not one
// for a record that is nowhere.
func TestWhoBelongsIntoTheLedger(t *testing.T) {
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
