package sink

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"millrace/internal/telemetry"
)

var now = time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)

const undated = "telemetry-span-undated"

// record makes the stream record of a body in an index.
func record(t testing.TB, index, id, body string) telemetry.Record {
	t.Helper()
	r, err := telemetry.Parse(telemetry.AppendRecord(nil, telemetry.Head{
		Index: index, ReceivedAt: now, Tenant: "acme", Region: "eu-west-1", ID: id, Type: "span", Timestamp: now,
	}, []byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	return r
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
	if string(b.Body()) != want {
		t.Errorf("got  %s\nwant %s", b.Body(), want)
	}
	var epoch Bulk
	epoch.Add(r, time.UnixMilli(0))
	if !bytes.Contains(epoch.Body(), []byte(`{"indexed_at":"1970-01-01T00:00:00.000Z",`)) {
		t.Errorf("at the epoch: %s", epoch.Body())
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
