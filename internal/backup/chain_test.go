package backup_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/telemetry"
)

var (
	start = time.Date(2026, 11, 23, 13, 59, 50, 0, time.UTC)
	shard = backup.Shard{Stream: "telemetry", Created: start, ID: "shardId-000000000000"}
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
	m.objects[key] = object{body, meta}
	err := m.after
	m.after = nil
	return err == nil, err
}

func (m *memory) Stat(_ context.Context, key string) (archive.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, there := m.objects[key]
	if !there {
		return archive.Object{}, archive.ErrNotFound
	}
	return archive.Object{Key: key, Meta: o.meta}, nil
}

// record makes the n-th record of the shard; every third is foreign.
func record(n int) backup.Record {
	data := []byte("no JSON\n" + strconv.Itoa(n))
	if at := start.Add(time.Duration(n) * time.Second); n%3 > 0 {
		head := telemetry.Head{Index: "telemetry-log-undated", ReceivedAt: at, Tenant: "t", Region: "r", ID: strconv.Itoa(n), Type: "log", Timestamp: at}
		data = telemetry.AppendRecord(nil, head, fmt.Appendf(nil, `{"n":%d}`, n))
	}
	return backup.Record{Sequence: strconv.Itoa(1000 + 7*n), Arrived: start.Add(time.Duration(n) * time.Second), Data: data}
}

// write adds records to a chain, and flushes it behind each so many.
func write(t *testing.T, c *backup.Chain, from, to, every int) {
	t.Helper()
	for n := from; n < to; n++ {
		c.Add(record(n))
		if held, _ := c.Held(); held >= every {
			if err := c.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Error(err)
	}
}

// complete asserts that each of the first records is there once, intact.
func complete(t *testing.T, m *memory, count int) {
	t.Helper()
	var got []backup.Record
	for key, o := range m.objects {
		lines, err := gzip.NewReader(bytes.NewReader(o.body))
		if err != nil {
			t.Fatal(err)
		}
		of := 0
		for scan := bufio.NewScanner(lines); scan.Scan(); of++ {
			id, r, err := backup.ParseLine(scan.Bytes())
			if err != nil || id != shard.ID {
				t.Fatalf("%s: shard %q, %v", key, id, err)
			}
			got = append(got, r)
		}
		if o.meta["count"] != strconv.Itoa(of) || o.meta["last"] != got[len(got)-1].Sequence {
			t.Errorf("%s holds %d records to %s, its metadata are %v", key, of, got[len(got)-1].Sequence, o.meta)
		}
	}
	slices.SortFunc(got, func(a, b backup.Record) int { return telemetry.CompareSequence(a.Sequence, b.Sequence) })
	if len(got) != count {
		t.Fatalf("%d records, want %d", len(got), count)
	}
	for n, r := range got {
		if want := record(n); r.Sequence != want.Sequence || !bytes.Equal(r.Data, want.Data) {
			t.Fatalf("record %d is %s %q", n, r.Sequence, r.Data)
		}
	}
}

func TestKeyFollowsFromTheFirstRecord(t *testing.T) {
	t.Parallel()
	want := fmt.Sprintf("dt=2026-11-23/hour=14/telemetry-%d-shardId-000000000000-1070.json.gz", start.Unix())
	if got := shard.Key(record(10)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestKilledWriter: its successor knows an old checkpoint, and cuts otherwise.
func TestKilledWriter(t *testing.T) {
	t.Parallel()
	for _, every := range []int{1, 3, 10, 17, 1000} {
		m := newMemory()
		write(t, backup.Open(m, shard, ""), 0, 50, 10)
		write(t, backup.Open(m, shard, record(19).Sequence), 20, 100, every)
		complete(t, m, 100)
	}
}

// TestLostAnswer: the object is there, the writer does not know it, and has
// more to write when it tries again.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	m := newMemory()
	m.after = errors.New("no answer")
	c := backup.Open(m, shard, "")
	c.Add(record(0))
	c.Add(record(1))
	if err := c.Flush(t.Context()); err == nil || c.Last() != "" {
		t.Fatalf("at %q, %v", c.Last(), err)
	}
	write(t, c, 2, 30, 4)
	complete(t, m, 30)
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
}
