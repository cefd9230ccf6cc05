package backup_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"millrace/internal/backup"
)

func TestKeyFollowsFromTheFirstRecord(t *testing.T) {
	t.Parallel()
	want := fmt.Sprintf("dt=2026-11-23/hour=14/telemetry-%d-shardId-000000000000-1070.json.gz", start.Unix())
	if got := shard.Key(record(10)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, key := range []string{"", "dt=2026-11-23/hour=14/x.json.gz", want[1:], want + ".tmp", "2026/11/23/14/" + want} {
		if n, ours := backup.ParseKey(key); ours {
			t.Errorf("%q is taken for %+v", key, n)
		}
	}
}

// TestChainSurvivesKilledWriter: its successor knows an old checkpoint, or none, and cuts
// otherwise.
func TestChainSurvivesKilledWriter(t *testing.T) {
	t.Parallel()
	for _, every := range []int{1, 3, 10, 17, 1000} {
		m := newMemory()
		write(t, backup.Open(m, shard, ""), 0, 50, 10)
		write(t, backup.Open(m, shard, record(19).Sequence), 20, 100, every)
		write(t, backup.Open(m, shard, ""), 0, 120, every)
		complete(t, m, 120)
		linked(t, m)
	}
}

// TestChainContinuesAfterTrimBehindCheckpoint: the first record that a successor reads is in
// the middle of an object, whose key it cannot know.
func TestChainContinuesAfterTrimBehindCheckpoint(t *testing.T) {
	t.Parallel()
	for first := range 50 {
		m := newMemory()
		write(t, backup.Open(m, shard, ""), 0, 40, 9)
		write(t, backup.Open(m, shard, ""), first, 70, 16)
		held := 0
		for _, o := range m.objects {
			meta, err := backup.ParseMeta(o.meta)
			if err != nil {
				t.Fatal(err)
			}
			held += meta.Count
		}
		missing := max(0, first-40) // those that could not be read
		if held != 70-missing {
			t.Errorf("begun at %d there are %d records, not %d", first, held, 70-missing)
		}
		if missing == 0 {
			complete(t, m, 70)
		}
	}
}

// TestChainContinuesAfterTrimWhileWriting: a writer that learns of a gap looks the chain up
// again.
func TestChainContinuesAfterTrimWhileWriting(t *testing.T) {
	t.Parallel()
	m := newMemory()
	late := backup.Open(m, shard, "")
	write(t, late, 0, 20, 7)
	write(t, backup.Open(m, shard, record(19).Sequence), 20, 60, 13)
	late.Doubt()
	write(t, late, 50, 90, 7) // 20 to 49 are trimmed
	complete(t, m, 90)
	linked(t, m)
}

// TestChainSurvivesLostAnswer: the object is there, and the writer does not know it.
func TestChainSurvivesLostAnswer(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.after = errors.New("no answer")
	c := backup.Open(m, shard, "")
	for n := range 2 {
		if err := c.Add(record(n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Flush(t.Context()); err == nil || c.Last() != "" {
		t.Fatalf("at %q, %v", c.Last(), err)
	}
	if err := c.Add(record(2)); err == nil {
		t.Error("a record was added to what may be written already")
	}
	f, err := c.Flush(t.Context())
	if err != nil || !f.Adopted || f.Reread || f.Meta.Count != 2 || c.Last() != record(1).Sequence {
		t.Fatalf("%+v, %v", f, err)
	}
	write(t, c, 2, 30, 4)
	complete(t, m, 30)
	linked(t, m)

	// Or it dies of it, and its successor has more to write when it tries again.
	m.after = errors.New("no answer")
	dying := backup.Open(m, shard, record(29).Sequence)
	if err := dying.Add(record(30)); err != nil {
		t.Fatal(err)
	}
	if _, err := dying.Flush(t.Context()); err == nil {
		t.Fatal("an answer was lost, and the writer did not notice")
	}
	write(t, backup.Open(m, shard, record(29).Sequence), 30, 60, 8)
	complete(t, m, 60)
	linked(t, m)
}

// TestChainSurvivesZombieWriter: both go on writing, with other boundaries.
func TestChainSurvivesZombieWriter(t *testing.T) {
	t.Parallel()
	m := newMemory()
	var group sync.WaitGroup
	for every := range 6 {
		group.Go(func() { write(t, backup.Open(m, shard, ""), 0, 500, 3+4*every) })
	}
	group.Wait()
	complete(t, m, 500)
	linked(t, m)
}
