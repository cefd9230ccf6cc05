package telemetry

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

var received = time.Date(2026, 11, 23, 1, 2, 3, 4_000_000, time.UTC)

func head() Head {
	return Head{
		Index:      IndexName("span", received),
		ReceivedAt: received,
		Tenant:     `ac"me`,
		Region:     "eu-west-1",
		ID:         "köln\n1",
		Type:       "span",
		Timestamp:  received.Add(-time.Second),
	}
}

func TestRecordIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	h := head()
	data := AppendRecord(nil, h, []byte(`{"duration":12,"tags":{"a":"b"}}`))

	r, err := Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if r.DocID != h.DocID() || string(r.DocIDText) != h.DocID().String() {
		t.Errorf("document id %s, want %s", r.DocIDText, h.DocID())
	}
	if string(r.Index) != "telemetry-span-2026.11.23" {
		t.Errorf("index %s", r.Index)
	}
	if !r.ReceivedAt.Equal(received) {
		t.Errorf("received at %s, want %s", r.ReceivedAt, received)
	}

	// What follows the head is the document, but for its opening brace.
	var document map[string]any
	if err := json.Unmarshal(append([]byte("{"), r.Document...), &document); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"received_at": "2026-11-23T01:02:03.004Z", "tenant": h.Tenant, "region": h.Region, "id": h.ID,
		"type": "span", "@timestamp": "2026-11-23T01:02:02.004Z", "duration": 12.0,
	} {
		if document[key] != want {
			t.Errorf("%s is %v, want %v", key, document[key], want)
		}
	}
	if _, ok := document["doc_id"]; ok {
		t.Error("the document carries doc_id")
	}
	if f := ParseFields(data); f.Tenant != h.Tenant || f.ID != h.ID || f.Index != h.Index || f.DocID != h.DocID().String() {
		t.Errorf("fields %+v", f)
	}
	if key, err := PartitionKey(data); err != nil || len(key) != PartitionKeySize || key != h.DocID().PartitionKey() {
		t.Errorf("partition key %q, %v", key, err)
	}
}

func TestAnEmptyBodyGivesADocument(t *testing.T) {
	t.Parallel()
	if data := AppendRecord(nil, head(), []byte(`{}`)); !json.Valid(data) {
		t.Errorf("not JSON: %s", data)
	}
}

func TestForeignRecordsAreRefused(t *testing.T) {
	t.Parallel()
	good := string(AppendRecord(nil, head(), []byte(`{"a":1}`)))
	for name, data := range map[string]string{
		"empty":                    "",
		"another document":         `{"id":"x","type":"span"}` + strings.Repeat(" ", 100),
		"cut off in the head":      good[:indexAt],
		"cut off in the index":     good[:indexAt+4],
		"cut off in received_at":   good[:indexAt+40],
		"cut off at its end":       good[:len(good)-1],
		"two lines":                strings.Replace(good, `"a":1`, "\"a\":\n1", 1),
		"document id not base64":   strings.Replace(good, good[11:15], "????", 1),
		"index of somebody else":   strings.Replace(good, "telemetry-span", "secrets---span", 1),
		"index with a quote in it": strings.Replace(good, "telemetry-span", `telemetry-\"pa`, 1),
		"received_at not a time":   strings.Replace(good, "2026-11-23T", "2026-1x-23T", 1),
	} {
		if _, err := Parse([]byte(data)); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: error %v, want ErrForeign", name, err)
		}
	}
}

func TestParseAllocatesNothing(t *testing.T) {
	data := AppendRecord(nil, head(), []byte(`{"a":1}`))
	if n := testing.AllocsPerRun(100, func() { _, _ = Parse(data) }); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

func TestIdentityKeepsPartsApart(t *testing.T) {
	t.Parallel()
	ids := map[DocID]bool{NewDocID("ab", "c", "d"): true, NewDocID("a", "bc", "d"): true, NewDocID("a", "b", "cd"): true}
	if len(ids) != 3 {
		t.Error("different records share an identity")
	}
	d := NewDocID("tenant", "index", "id")
	if back, err := ParseDocID([]byte(d.String())); err != nil || back != d {
		t.Errorf("%s read back as %s, %v", d, back, err)
	}
	// Written into every document in every cluster: it may never change.
	if want := "9V9VkRcu7WuwL3w7r7QXLbiDymk"; d.String() != want {
		t.Errorf("identity %s, want %s", d, want)
	}
}

func TestIndexName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		recordType string
		timestamp  time.Time
		want       string
	}{
		{"span", received, "telemetry-span-2026.11.23"},
		{"span", received.In(time.FixedZone("ahead", 14*3600)), "telemetry-span-2026.11.23"},
		{"made-up", received, "telemetry-other-2026.11.23"},
		{"log", time.Time{}, "telemetry-log-undated"},
		{"log", EarliestTimestamp, "telemetry-log-2020.01.01"},
		{"log", EarliestTimestamp.Add(-1), "telemetry-log-undated"},
		{"log", LatestTimestamp.Add(-1), "telemetry-log-2034.12.31"},
		{"log", LatestTimestamp, "telemetry-log-undated"},
	} {
		if got := IndexName(c.recordType, c.timestamp); got != c.want {
			t.Errorf("IndexName(%q, %s) = %s, want %s", c.recordType, c.timestamp, got, c.want)
		}
	}
}

func TestCompareSequence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"9", "10", -1}, {"10", "9", 1}, {"007", "7", 0}, {"", "0", 0},
		{"49590338271490256608559692538361571095921575989136588898", "49590338271490256608559692540925702759324208523137515618", -1},
	} {
		if got := CompareSequence(c.a, c.b); got != c.want {
			t.Errorf("CompareSequence(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(AppendRecord(nil, head(), []byte(`{"a":1}`)))
	f.Add([]byte(`{"doc_id":"`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(data)
		if err != nil {
			if !errors.Is(err, ErrForeign) {
				t.Fatalf("error %v does not wrap ErrForeign", err)
			}
			return
		}
		if !isIndexName(r.Index) || len(r.DocIDText) != docIDTextSize || r.Document[len(r.Document)-1] != '}' {
			t.Fatalf("took %q", data)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data := AppendRecord(nil, head(), []byte(`{"name":"`+strings.Repeat("x", 250)+`"}`))
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func TestIndexNamesAreTakenApart(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	for _, kind := range append(Types, TypeOther) {
		for _, at := range []time.Time{{}, day} {
			if got, date, ok := ParseIndex(IndexName(kind, at.Add(time.Hour))); !ok || got != kind || !date.Equal(at) {
				t.Errorf("%s of %s: %s, %s, %v", kind, at, got, date, ok)
			}
		}
	}
	for _, name := range []string{
		"", "telemetry", "telemetry-", "telemetry-span", "telemetry-undated", "telemetry-span-2026.11.24-restored", "telemetry-span-2026.13.24",
		"telemetry-span-2026.11", "copy-telemetry-span-2026.11.24", "telemetry-span-undated-2",
	} {
		if kind, date, ok := ParseIndex(name); ok {
			t.Errorf("%q is taken for %s of %s", name, kind, date)
		}
	}
}
