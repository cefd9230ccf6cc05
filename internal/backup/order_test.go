package backup_test

import (
	"slices"
	"testing"
	"time"

	"millrace/internal/backup"
	"millrace/internal/telemetry"
)

// midnight is the turn of an hour, and of a day.
var midnight = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

// turning writes a chain of which each link has one record: the n-th arrived so
// many milliseconds from midnight. Its first link goes on behind record -1.
func turning(t *testing.T, millis ...int) library {
	t.Helper()
	store := library{newMemory(), midnight.Add(time.Hour)}
	chain := backup.Open(store.memory, shard, record(-1).Sequence)
	for n, after := range millis {
		one := backup.Record{Sequence: record(n).Sequence, Arrived: midnight.Add(time.Duration(after) * time.Millisecond), Data: record(n).Data}
		if err := chain.Add(one); err != nil {
			t.Fatal(err)
		}
		if _, err := chain.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return store
}

// links are the numbers of the records with which objects begin.
func links(t *testing.T, store library, w backup.Window) (first []int) {
	t.Helper()
	for _, key := range listed(t, store, w) {
		name, _ := backup.ParseKey(key)
		first = append(first, number(name.First))
	}
	return first
}

// TestArrivalsOutOfOrderHideNothing: at the turn of an hour, and of a day, a link
// lies below an earlier hour than the one before it, again and again. It is
// listed all the same, in the order of its chain, and nothing seems to be
// missing.
func TestArrivalsOutOfOrderHideNothing(t *testing.T) {
	t.Parallel()
	span := func(after, until int) map[string][]backup.Span {
		return map[string][]backup.Span{shard.ID: {{After: record(after).Sequence, Until: record(until).Sequence}}}
	}
	for name, c := range map[string]struct {
		millis []int
		window backup.Window
		want   []int
	}{
		"all, by sequence number": {
			[]int{-2000, 5, -5, 3, -3, -2, 2000},
			backup.Window{From: midnight.Add(-time.Minute), To: midnight.Add(time.Hour), Shards: span(-1, 6)},
			[]int{0, 1, 2, 3, 4, 5, 6},
		},
		"behind one of the next hour": {
			[]int{-2000, 5, -5, 3, -3, 2000},
			backup.Window{From: midnight.Add(-time.Minute), To: midnight.Add(time.Hour), Shards: span(1, 4)},
			[]int{1, 2, 3, 4}, // of the first it is not known that it ends there
		},
		"from the turn on, by time": {
			[]int{-2000, 5, -5, 3, -3, 2000},
			backup.Window{From: midnight, To: midnight.Add(time.Hour)},
			[]int{1, 3, 5},
		},
		"up to the turn, by time": {
			[]int{-2000, 5, -5, 3, -3, 2000},
			backup.Window{From: midnight.Add(-time.Minute), To: midnight.Add(-1)},
			[]int{0, 2, 4},
		},
		"the stream's clock is ahead": {
			[]int{-2000, 400},
			backup.Window{From: midnight.Add(-time.Minute), To: midnight.Add(-100 * time.Millisecond), Shards: span(-1, 1)},
			[]int{0, 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, w := turning(t, c.millis...), c.window
			w.Stream, w.Created = shard.Stream, shard.Created
			if got := links(t, store, w); !slices.Equal(got, c.want) {
				t.Errorf("listed are %v, want %v", got, c.want)
			}
			if got, why := breaks(t, store, w); len(got) > 0 {
				t.Errorf("it seems to be broken behind %v: %s", got, why)
			}
		})
	}
	// What is missing there is seen.
	store := turning(t, -2000, 5, -5, 3, -3, 2000)
	missing := backup.Record{Sequence: record(2).Sequence, Arrived: midnight.Add(-5 * time.Millisecond)}
	if _, there := store.objects[shard.Key(missing)]; !there {
		t.Fatal("nothing stands at " + shard.Key(missing))
	}
	delete(store.objects, shard.Key(missing))
	for name, w := range map[string]backup.Window{
		"by sequence number": {From: midnight.Add(-time.Minute), To: midnight.Add(time.Hour), Shards: span(-1, 5)},
		"by time":            {From: midnight, To: midnight.Add(time.Hour)},
	} {
		if got, _ := breaks(t, store, w); !slices.Equal(got, []int{1}) {
			t.Errorf("%s: it is broken behind %v, want 1", name, got)
		}
	}
}

// TestReachedFindsEndOfChainAtMidnight: the last link may lie below the day before
// that of others.
func TestReachedFindsEndOfChainAtMidnight(t *testing.T) {
	t.Parallel()
	store := turning(t, -2000, 5, -5)
	reached, err := backup.Reached(t.Context(), store, shard.Stream, start, []string{shard.ID}, midnight.Add(-time.Hour))
	if last := reached[shard.ID].Last; err != nil || last != record(2).Sequence {
		t.Errorf("it has come to %s, %v, want %s", last, err, record(2).Sequence)
	}
}

// TestChainIsWholeAtMidnight: retention may delete what it has.
func TestChainIsWholeAtMidnight(t *testing.T) {
	t.Parallel()
	store := turning(t, -2000, 5, -5, 3, -3, 2000)
	for _, from := range []time.Duration{-time.Second, 2 * time.Hour} {
		positions := map[string]backup.Position{shard.ID: {Checkpoint: telemetry.Checkpoint{Sequence: record(5).Sequence, ReadUpTo: midnight.Add(4 * time.Hour)}}}
		what, err := backup.Lacks(t.Context(), store, store, shard.Stream, start, positions, midnight.Add(from), midnight.Add(3*time.Hour))
		if err != nil || what != "" {
			t.Errorf("from %s on it lacks %q, %v", from, what, err)
		}
	}
	// Links are sought a day before the window: one that was deleted is missed.
	delete(store.objects, shard.Key(backup.Record{Sequence: record(3).Sequence, Arrived: midnight.Add(3 * time.Millisecond)}))
	positions := map[string]backup.Position{shard.ID: {Checkpoint: telemetry.Checkpoint{Sequence: record(5).Sequence, ReadUpTo: midnight.Add(4 * time.Hour)}}}
	if what, err := backup.Lacks(t.Context(), store, store, shard.Stream, start, positions, midnight.Add(-time.Second), midnight.Add(3*time.Hour)); err != nil || what == "" {
		t.Errorf("without record 3 it lacks %q, %v", what, err)
	}
}
