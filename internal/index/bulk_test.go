package index

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"millrace/internal/telemetry"
)

func TestABulkIsPutTogetherFromAnother(t *testing.T) {
	t.Parallel()
	a, b, c := record(t, undated, "a", `{"n":1}`), record(t, undated, "b", `{"n":2}`), record(t, undated, "c", `{"n":3}`)
	all, part := bulkOf(a, b, c), &Bulk{}
	part.AddFrom(all, 0)
	part.AddFrom(all, 2)
	if want := bulkOf(a, c); !bytes.Equal(part.body, want.body) || part.Len() != 2 || part.Size() != want.Size() {
		t.Errorf("got %s, want %s", part.body, want.body)
	}
	all.Reset()
	if all.Len() != 0 || all.Size() != 0 {
		t.Error("not empty after Reset")
	}
}

func TestOperationsAreWrittenLineByLine(t *testing.T) {
	t.Parallel()
	r := record(t, undated, "a", `{"n":1}`)
	b := &Bulk{}
	want := ""
	for _, at := range []time.Time{now, now, now.Add(time.Millisecond), now.In(time.FixedZone("", 3600))} {
		b.Add(r, at)
		want += `{"create":{"_index":"telemetry-span-undated","_id":"` + string(r.DocIDText) + `"}}` + "\n" +
			`{"indexed_at":"` + at.UTC().Format("2006-01-02T15:04:05.000Z") + `",` + string(r.Document) + "\n"
	}
	if string(b.body) != want {
		t.Errorf("got  %s\nwant %s", b.body, want)
	}
	var epoch Bulk
	epoch.Add(r, time.UnixMilli(0))
	if !bytes.Contains(epoch.body, []byte(`{"indexed_at":"1970-01-01T00:00:00.000Z",`)) {
		t.Errorf("at the epoch: %s", epoch.body)
	}
}

func TestHalfCutsByBytes(t *testing.T) {
	t.Parallel()
	small := record(t, undated, "small", `{}`)
	large := record(t, undated, "large", `{"padding":"`+strings.Repeat("x", 100_000)+`"}`)
	for _, c := range []struct {
		records []telemetry.Record
		want    int
	}{
		{[]telemetry.Record{small}, 1},
		{[]telemetry.Record{small, small}, 1},
		{[]telemetry.Record{small, small, small, small}, 2},
		{[]telemetry.Record{large, small, small, small}, 1},
		{[]telemetry.Record{small, small, small, large}, 3},
	} {
		if got := bulkOf(c.records...).Half(); got != c.want {
			t.Errorf("%d records are cut at %d, want %d", len(c.records), got, c.want)
		}
	}
}

func TestAddingDoesNotAllocate(t *testing.T) {
	r, b, at := record(t, undated, "a", `{}`), &Bulk{}, now
	fill := func() {
		b.Reset()
		at = at.Add(time.Millisecond)
		for range 100 {
			b.Add(r, at)
		}
	}
	fill()
	if n := testing.AllocsPerRun(100, fill); n != 0 {
		t.Errorf("%v allocations a bulk", n)
	}
}

func TestGrowingMakesRoomForAll(t *testing.T) {
	r, at := record(t, undated, "a", `{"name":"x"}`), now
	size := len(r.Document) + len(r.Index) + len(r.DocIDText) // and a little more, in the stream
	b := &Bulk{}
	b.Add(r, at)
	b.Grow(1000, 1000*size)
	if n := testing.AllocsPerRun(1, func() {
		for range 500 { // twice: once to warm up
			b.Add(r, at)
		}
	}); n != 0 {
		t.Errorf("%v allocations in a bulk with room", n)
	}
}

// From stream record to bulk body, of a record of 450 bytes.
func BenchmarkParseAndAdd(b *testing.B) {
	data := telemetry.AppendRecord(nil, telemetry.Head{
		Index: "telemetry-span-2026.11.23", ReceivedAt: now, Tenant: "acme", Region: "eu-west-1", ID: "1", Type: "span", Timestamp: now,
	}, []byte(`{"name":"`+strings.Repeat("x", 225)+`"}`))
	bulk := &Bulk{}
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r, err := telemetry.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		if bulk.Add(r, now); bulk.Len() == DefaultBulkDocuments {
			bulk.Reset()
		}
	}
}

// AddFrom appends one operation of another bulk.
func (b *Bulk) AddFrom(other *Bulk, position int) {
	b.body = append(b.body, other.operation(position)...)
	b.ends = append(b.ends, len(b.body))
}

func (b *Bulk) operation(position int) []byte {
	from := 0
	if position > 0 {
		from = b.ends[position-1]
	}
	return b.body[from:b.ends[position]]
}
