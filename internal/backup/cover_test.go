package backup_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/telemetry"
)

// library is a memory whose objects are as old as it says.
type library struct {
	*memory
	modified time.Time
}

func (l library) List(_ context.Context, prefix string) iter.Seq2[archive.Object, error] {
	return func(yield func(archive.Object, error) bool) {
		for _, key := range slices.Sorted(maps.Keys(l.objects)) {
			if strings.HasPrefix(key, prefix) && !yield(archive.Object{Key: key, Modified: l.modified}, nil) {
				return
			}
		}
	}
}

func (l library) Read(context.Context, string) (io.ReadCloser, archive.Object, error) {
	return nil, archive.Object{}, errors.New("it must not be read")
}

// TestLacksNamesMissingRecords: the chain of 120 records, a second apart, is cut into
// objects of 10.
func TestLacksNamesMissingRecords(t *testing.T) {
	t.Parallel()
	at := func(n int) time.Time { return record(n).Arrived }
	reached := func(n int) map[string]backup.Position {
		return map[string]backup.Position{shard.ID: {Checkpoint: telemetry.Checkpoint{Sequence: record(n).Sequence, ReadUpTo: at(n)}}}
	}
	whole := func(t *testing.T, m *memory) { write(t, backup.Open(m, shard, ""), 0, 120, 10) }
	end := func(t *testing.T, m *memory) {
		whole(t, m)
		if err := backup.Open(m, shard, record(119).Sequence).End(t.Context(), m); err != nil {
			t.Error(err)
		}
	}
	// expired deletes what begins before a record.
	expired := func(n int) func(t *testing.T, m *memory) {
		return func(t *testing.T, m *memory) {
			if len(m.objects) == 0 {
				whole(t, m)
			}
			for key := range m.objects {
				if name, ours := backup.ParseKey(key); ours && number(name.First) < n {
					delete(m.objects, key)
				}
			}
		}
	}
	const later = 3 * 24 * 60 * 60 // seconds, so days
	idle := func(t *testing.T, m *memory) {
		chain := backup.Open(m, shard, "")
		write(t, chain, 0, 10, 10)
		write(t, chain, later, later+10, 10)
	}
	gone := map[string]backup.Position{"shardId-000000000007": {Checkpoint: telemetry.Checkpoint{ReadUpTo: at(500)}}}
	for name, c := range map[string]struct {
		fill      func(t *testing.T, m *memory)
		modified  time.Duration // behind the last record
		positions map[string]backup.Position
		from, to  int
		lacks     string
	}{
		"all of it":              {fill: whole, positions: reached(119), from: 0, to: 119},
		"in the middle":          {fill: whole, positions: reached(119), from: 35, to: 77},
		"the end is not written": {fill: whole, positions: reached(119), from: 35, to: 125, lacks: "not known to have come to"},
		"the end was idle": {fill: whole, from: 35, to: 400, positions: map[string]backup.Position{
			shard.ID: {Checkpoint: telemetry.Checkpoint{Sequence: record(119).Sequence, ReadUpTo: at(400)}},
		}},
		"the last one was deleted": {fill: func(t *testing.T, m *memory) { write(t, backup.Open(m, shard, ""), 0, 110, 10) }, from: 35, to: 400, positions: map[string]backup.Position{
			shard.ID: {Checkpoint: telemetry.Checkpoint{Sequence: record(119).Sequence, ReadUpTo: at(400)}},
		}, lacks: "not known to have come to"},
		"one was deleted": {fill: func(t *testing.T, m *memory) {
			whole(t, m)
			delete(m.objects, shard.Key(record(60)))
		}, positions: reached(119), from: 35, to: 119, lacks: "has a gap"},
		"one was deleted behind it": {fill: func(t *testing.T, m *memory) {
			whole(t, m)
			delete(m.objects, shard.Key(record(60)))
		}, positions: reached(119), from: 35, to: 45},
		"one says nothing": {fill: func(t *testing.T, m *memory) {
			whole(t, m)
			m.objects[shard.Key(record(60))] = object{}
		}, positions: reached(119), from: 35, to: 119, lacks: "has a gap"},
		"records were trimmed": {fill: func(t *testing.T, m *memory) {
			chain := backup.Open(m, shard, "")
			write(t, chain, 0, 50, 10)
			chain.Doubt()
			write(t, chain, 55, 120, 10)
		}, positions: reached(119), from: 35, to: 119, lacks: "has a gap"},
		"another writer had them": {fill: func(t *testing.T, m *memory) {
			chain := backup.Open(m, shard, "")
			write(t, chain, 0, 50, 10)
			write(t, backup.Open(m, shard, record(49).Sequence), 50, 60, 10)
			chain.Doubt()
			write(t, chain, 55, 120, 10)
		}, positions: reached(119), from: 35, to: 119},
		"it began late": {fill: func(t *testing.T, m *memory) { write(t, backup.Open(m, shard, ""), 40, 120, 10) },
			modified: 40 * time.Hour, positions: reached(119), from: 35, to: 119, lacks: "or begins"},
		"it began when nothing was trimmed yet": {fill: func(t *testing.T, m *memory) { write(t, backup.Open(m, shard, ""), 40, 120, 10) },
			modified: time.Hour, positions: reached(119), from: 35, to: 119},
		"it began late, of a shard that was made then": {fill: func(t *testing.T, m *memory) { write(t, backup.Open(m, shard, ""), 40, 120, 10) },
			modified: 40 * time.Hour, from: 35, to: 119, positions: map[string]backup.Position{
				shard.ID: {Checkpoint: reached(119)[shard.ID].Checkpoint, Child: true},
			}},
		"it began anew": {fill: func(t *testing.T, m *memory) {
			write(t, backup.Open(m, shard, ""), 0, 50, 10)
			write(t, backup.Open(m, shard, ""), 60, 120, 10)
		}, modified: 40 * time.Hour, positions: reached(119), from: 35, to: 119, lacks: "has a gap"},
		"no backup": {fill: func(*testing.T, *memory) {}, positions: map[string]backup.Position{shard.ID: {}}, from: 0, to: 1, lacks: "not known to have come to"},
		"nothing ever came": {fill: func(*testing.T, *memory) {}, from: 0, to: 119, positions: map[string]backup.Position{
			shard.ID: {Checkpoint: telemetry.Checkpoint{ReadUpTo: at(119)}},
		}},
		"all was deleted":            {fill: func(*testing.T, *memory) {}, positions: reached(119), from: 0, to: 119, lacks: "not known to have come to"},
		"the first ones were":        {fill: expired(40), positions: reached(119), from: 35, to: 119, lacks: "or begins"},
		"and are of the time before": {fill: expired(40), positions: reached(119), from: 55, to: 119},
		"all behind it are left":     {fill: expired(100), positions: reached(119), from: 35, to: 77, lacks: "or begins"},
		"it was idle for days":       {fill: idle, positions: reached(later + 9), from: later - 5, to: later + 9},
		"before what is left": {fill: func(t *testing.T, m *memory) {
			idle(t, m)
			expired(10)(t, m)
		}, positions: reached(later + 9), from: later - 5, to: later + 9, lacks: "or begins"},
		"idle for days, one was deleted": {fill: func(t *testing.T, m *memory) {
			write(t, backup.Open(m, shard, ""), 0, 10, 10)
			write(t, backup.Open(m, shard, record(19).Sequence), later, later+10, 10)
		}, positions: reached(later + 9), from: later - 5, to: later + 9, lacks: "or begins"},
		"it is idle since days": {fill: whole, from: later, to: later + 9, positions: map[string]backup.Position{
			shard.ID: {Checkpoint: telemetry.Checkpoint{Sequence: record(119).Sequence, ReadUpTo: at(later + 9)}},
		}},
		"since days, and the last one was deleted": {fill: func(t *testing.T, m *memory) { write(t, backup.Open(m, shard, ""), 0, 110, 10) }, from: later, to: later + 9, positions: map[string]backup.Position{
			shard.ID: {Checkpoint: telemetry.Checkpoint{Sequence: record(119).Sequence, ReadUpTo: at(later + 9)}},
		}, lacks: "not known to have come to"},
		"it is drained since days": {fill: func(*testing.T, *memory) {}, from: later, to: later + 9, positions: map[string]backup.Position{
			shard.ID: {Checkpoint: telemetry.Checkpoint{Sequence: record(119).Sequence, ReadUpTo: at(119), Closed: true}},
		}},
		"no shards":                    {fill: whole, from: 0, to: 1, lacks: "it is unknown"},
		"its shard is no more, closed": {fill: end, positions: gone, from: 35, to: 300},
		"its shard is no more, and all was deleted": {fill: func(t *testing.T, m *memory) {
			end(t, m)
			expired(120)(t, m)
		}, positions: gone, from: 35, to: 300, lacks: "not known to have come to"},
		"its shard was no more then": {fill: func(t *testing.T, m *memory) {
			end(t, m)
			expired(120)(t, m)
		}, positions: gone, from: 150, to: 300},
		"its shard is no more": {fill: whole, positions: gone, from: 35, to: 300, lacks: "not known to have come to"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := library{newMemory(), at(119).Add(c.modified)}
			c.fill(t, store.memory)
			what, err := backup.Lacks(t.Context(), store, store, shard.Stream, start, c.positions, at(c.from), at(c.to))
			if err != nil || (what == "") != (c.lacks == "") || !strings.Contains(what, c.lacks) {
				t.Errorf("it lacks %q, %v; want %q", what, err, c.lacks)
			}
		})
	}
	// Of an earlier stream of the same name nothing is known.
	store := library{newMemory(), at(119)}
	whole(t, store.memory)
	if what, err := backup.Lacks(t.Context(), store, store, shard.Stream, start.Add(time.Hour), reached(119), at(35), at(300)); err != nil || what == "" {
		t.Errorf("of an earlier stream it lacks %q, %v", what, err)
	}
}
