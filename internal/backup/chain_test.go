package backup_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"millrace/internal/backup"
	"millrace/internal/telemetry"
)

type object struct {
	body []byte
	meta map[string]string
}

// memory is a Store that keeps PutNew's promise.
type memory struct {
	mu      sync.Mutex
	objects map[string]object
	after   error // what the next PutNew says although it has written
}

func newMemory() *memory { return &memory{objects: map[string]object{}} }

func (m *memory) PutNew(_ context.Context, key string, body []byte, meta map[string]string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.objects[key]; there {
		return false, nil
	}
	m.objects[key] = object{bytes.Clone(body), meta}
	err := m.after
	m.after = nil
	return err == nil, err
}

func (m *memory) Meta(_ context.Context, key string) (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, there := m.objects[key]
	if !there {
		return nil, fs.ErrNotExist
	}
	return o.meta, nil
}

func (m *memory) Keys(_ context.Context, prefix string) iter.Seq2[string, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.Sorted(maps.Keys(m.objects))
	return func(yield func(string, error) bool) {
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) && !yield(key, nil) {
				return
			}
		}
	}
}

// record makes the n-th record of the shard; every third is foreign. They
// arrive a second apart, and pass an hour's end.
func record(n int) backup.Record {
	data := []byte("no JSON\n" + strconv.Itoa(n))
	at := start.Add(time.Duration(n) * time.Second)
	if n%3 > 0 {
		head := telemetry.Head{Index: "telemetry-log-undated", ReceivedAt: at, Tenant: "t", Region: "r", ID: strconv.Itoa(n), Type: "log", Timestamp: at}
		data = telemetry.AppendRecord(nil, head, fmt.Appendf(nil, `{"n":%d}`, n))
	}
	return backup.Record{Sequence: strconv.Itoa(1000 + 7*n), Arrived: at, Data: data}
}

func number(sequence string) int {
	n, _ := strconv.Atoi(sequence)
	return (n - 1000) / 7
}

// write adds records to a chain, and flushes it behind each so many.
func write(t *testing.T, c *backup.Chain, from, to, every int) {
	t.Helper()
	next := from
	flush := func() {
		f, err := c.Flush(t.Context())
		if err != nil {
			t.Error(err)
		}
		if f.Reread {
			next = number(c.Last()) + 1
		}
	}
	for next < to {
		for ; next < to && c.Fits(record(next)) && c.Held().Count < every; next++ {
			r := record(next)
			if err := c.Add(r); err != nil {
				t.Error(err)
			}
			clear(r.Data) // its memory is not the chain's
		}
		flush()
	}
}

// complete asserts that each of the records is there once, intact.
func complete(t *testing.T, m *memory, count int) {
	t.Helper()
	var got []backup.Record
	for key, o := range m.objects {
		name, ours := backup.ParseKey(key)
		meta, err := backup.ParseMeta(o.meta)
		lines, err2 := gzip.NewReader(bytes.NewReader(o.body))
		if err := errors.Join(err, err2); err != nil || !ours {
			t.Fatalf("%s: %v", key, err)
		}
		var of []backup.Record
		bytes := int64(0)
		for scan := bufio.NewScanner(lines); scan.Scan(); {
			id, r, err := backup.ParseLine(scan.Bytes())
			if err != nil || id != shard.ID || !r.Arrived.Truncate(time.Hour).Equal(name.Hour) {
				t.Fatalf("%s: shard %q, record of %s, %v", key, id, r.Arrived, err)
			}
			of, bytes = append(of, r), bytes+int64(len(scan.Bytes()))+1
		}
		last := of[len(of)-1]
		want := backup.Meta{After: meta.After, Last: last.Sequence, Count: len(of), Bytes: bytes, Oldest: of[0].Arrived, Newest: last.Arrived}
		if meta != want || name.First != of[0].Sequence || name.Shard != (backup.Shard{Stream: shard.Stream, Created: start, ID: shard.ID}) {
			t.Errorf("%s is named %+v and said to be %+v, it is %+v", key, name, meta, want)
		}
		got = append(got, of...)
	}
	slices.SortFunc(got, func(a, b backup.Record) int { return telemetry.CompareSequence(a.Sequence, b.Sequence) })
	if len(got) != count {
		t.Fatalf("%d records, want %d", len(got), count)
	}
	for i, r := range got {
		if want := record(i); r.Sequence != want.Sequence || !bytes.Equal(r.Data, want.Data) || !r.Arrived.Equal(want.Arrived) {
			t.Fatalf("record %d is %s %q of %s", i, r.Sequence, r.Data, r.Arrived)
		}
	}
}

// linked asserts that each object names the record that it goes on behind.
func linked(t *testing.T, m *memory) {
	t.Helper()
	keys := slices.SortedFunc(maps.Keys(m.objects), func(a, b string) int {
		x, _ := backup.ParseKey(a)
		y, _ := backup.ParseKey(b)
		return telemetry.CompareSequence(x.First, y.First)
	})
	last := ""
	for _, key := range keys {
		meta, err := backup.ParseMeta(m.objects[key].meta)
		if err != nil || meta.After != last {
			t.Errorf("%s goes on behind %q, not %q: %v", key, meta.After, last, err)
		}
		last = meta.Last
	}
}

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

// TestKilledWriter: its successor knows an old checkpoint, or none, and cuts
// otherwise.
func TestKilledWriter(t *testing.T) {
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

// TestTrimmedBehindTheCheckpoint: the first record that a successor reads is in
// the middle of an object, whose key it cannot know.
func TestTrimmedBehindTheCheckpoint(t *testing.T) {
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

// TestTrimmedWhileWriting: a writer that learns of a gap looks the chain up
// again.
func TestTrimmedWhileWriting(t *testing.T) {
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

// TestLostAnswer: the object is there, and the writer does not know it.
func TestLostAnswer(t *testing.T) {
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

// TestZombieBesideItsSuccessor: both go on writing, with other boundaries.
func TestZombieBesideItsSuccessor(t *testing.T) {
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
