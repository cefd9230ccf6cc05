package backup_test

import (
	"strings"
	"testing"
	"time"

	"millrace/internal/backup"
)

// breaks are those of what a window wants, each with the number of the record
// behind which it is.
func breaks(t *testing.T, store library, w backup.Window) (found []int, reasons string) {
	t.Helper()
	w.Stream, w.Created = shard.Stream, shard.Created
	looking := backup.FindBreaks(store, w)
	for o, err := range backup.Follow(t.Context(), store, w) {
		if err == nil {
			err = looking.Add(t.Context(), o)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	all, err := looking.End(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		behind := -1
		if one.Behind != "" {
			behind = number(one.Behind)
		}
		found, reasons = append(found, behind), reasons+one.Reason
	}
	return found, reasons
}

// TestFindBreaksLocatesMissingObjects: 120 records, a second apart, are cut into objects of
// 10.
func TestFindBreaksLocatesMissingObjects(t *testing.T) {
	t.Parallel()
	at := func(n int) time.Time { return record(n).Arrived }
	span := func(after, until int) backup.Span {
		s := backup.Span{Until: record(until).Sequence}
		if after >= 0 {
			s.After = record(after).Sequence
		}
		return s
	}
	of := func(spans ...backup.Span) backup.Window {
		return backup.Window{From: at(30), To: at(119), Reach: time.Hour, Shards: map[string][]backup.Span{shard.ID: spans}}
	}
	beginning := of(span(-1, 119))
	beginning.From = time.Time{}
	whole := func(t *testing.T, m *memory) { write(t, backup.Open(m, shard, ""), 0, 120, 10) }
	without := func(records ...int) func(t *testing.T, m *memory) {
		return func(t *testing.T, m *memory) {
			whole(t, m)
			for _, n := range records {
				if _, there := m.objects[shard.Key(record(n))]; !there {
					t.Fatalf("no object begins with %d", n)
				}
				delete(m.objects, shard.Key(record(n)))
			}
		}
	}
	trimmed := func(t *testing.T, m *memory) {
		chain := backup.Open(m, shard, "")
		write(t, chain, 0, 50, 10)
		chain.Doubt()
		write(t, chain, 55, 120, 10)
	}
	late := func(t *testing.T, m *memory) { write(t, backup.Open(m, shard, ""), 40, 120, 10) }
	for name, c := range map[string]struct {
		fill     func(t *testing.T, m *memory)
		window   backup.Window
		modified time.Duration // behind the last record
		behind   int           // -2: nowhere
		reason   string
	}{
		"nowhere":                       {fill: whole, window: of(span(35, 119)), behind: -2},
		"nowhere, from its beginning":   {fill: whole, window: beginning, behind: -2},
		"in the middle":                 {fill: without(60, 70), window: of(span(35, 119)), behind: 59, reason: "not in the backup any more"},
		"in the middle, by time":        {fill: without(60), window: backup.Window{From: at(35), To: at(119)}, behind: 59},
		"at the window's beginning":     {fill: without(30), window: of(span(35, 119)), behind: 29},
		"at the chain's beginning":      {fill: without(0), window: beginning, behind: -1},
		"before the window":             {fill: without(0, 20), window: of(span(35, 119)), behind: -2},
		"behind the window":             {fill: without(60), window: of(span(35, 55)), behind: -2},
		"behind the window, by time":    {fill: without(110), window: backup.Window{From: at(0), To: at(1)}, behind: -2},
		"between two stretches":         {fill: without(60), window: of(span(35, 59), span(85, 119)), behind: -2},
		"in the second stretch":         {fill: without(90), window: of(span(35, 59), span(85, 119)), behind: 89},
		"of a shard that nothing is of": {fill: without(60), window: of(), behind: -2},
		"where records were trimmed":    {fill: trimmed, window: of(span(35, 119)), behind: 49, reason: "trimmed"},
		"after the snapshot it began":   {fill: late, window: of(span(35, 119)), modified: 40 * time.Hour, behind: -1, reason: "begins with it"},
		"it began while all was there":  {fill: late, window: of(span(35, 119)), modified: time.Hour, behind: -2},
		"it began with a shard":         {fill: late, window: of(span(-1, 119)), modified: 40 * time.Hour, behind: -2},
		"unknown, one says nothing":     {fill: func(t *testing.T, m *memory) { whole(t, m); m.objects[shard.Key(record(60))] = object{} }, window: of(span(35, 119)), behind: -2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := library{newMemory(), at(119).Add(c.modified)}
			c.fill(t, store.memory)
			got, reasons := breaks(t, store, c.window)
			if c.behind == -2 && len(got) > 0 || c.behind != -2 && (len(got) != 1 || got[0] != c.behind) || !strings.Contains(reasons, c.reason) {
				t.Errorf("broken behind %v: %q, want %d", got, reasons, c.behind)
			}
		})
	}
	// At the turn of an hour records are not quite in the order of their arrival.
	store := library{newMemory(), at(119)}
	chain := backup.Open(store.memory, shard, "")
	turn := start.Truncate(time.Hour).Add(time.Hour)
	for n, before := range []time.Duration{2, 0, 1, -1, 1, -2} {
		one := backup.Record{Sequence: record(n).Sequence, Arrived: turn.Add(-before * time.Millisecond), Data: record(n).Data}
		if !chain.Fits(one.Arrived) {
			if _, err := chain.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if err := chain.Add(one); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chain.Flush(t.Context()); err != nil || len(store.objects) != 6 {
		t.Fatalf("%d objects, %v", len(store.objects), err)
	}
	if got, _ := breaks(t, store, beginning); len(got) > 0 {
		t.Errorf("at the turn of an hour it is broken behind %v", got)
	}
}
