package backup_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"millrace/internal/backup"
	"millrace/internal/telemetry"
)

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
		for ; next < to && c.Fits(record(next).Arrived) && c.Held().Count < every; next++ {
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
	slices.SortFunc(got, func(a, b backup.Record) int { return telemetry.ComparePositions(a.Sequence, b.Sequence) })
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
		return telemetry.ComparePositions(x.First, y.First)
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
