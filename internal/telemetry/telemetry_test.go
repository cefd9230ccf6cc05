package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
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

func TestRecordRoundTrips(t *testing.T) {
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

func TestEmptyBodyYieldsValidJSON(t *testing.T) {
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
		"index of another tenant":  strings.Replace(good, "telemetry-span", "secrets---span", 1),
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

func TestDocIDSeparatesItsParts(t *testing.T) {
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

func TestNumbersOfAnySizeAreOrdered(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"9", "10", -1}, {"10", "9", 1}, {"007", "7", 0}, {"", "0", 0},
		{"49590338271490256608559692538361571095921575989136588898", "49590338271490256608559692540925702759324208523137515618", -1},
	} {
		if got := ComparePositions(c.a, c.b); got != c.want {
			t.Errorf("ComparePositions(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

// What a parser remembers of one record says nothing of the next.
func TestParserTakesEachRecordAlone(t *testing.T) {
	t.Parallel()
	h := head()
	good := string(AppendRecord(nil, h, []byte(`{"a":1}`)))
	h.Index, h.ReceivedAt, h.Earlier = "telemetry-"+strings.Repeat("x", 100), received.Add(61*time.Second), "telemetry-span-2026"
	other := string(AppendRecord(nil, h, []byte(`{"a":1}`)))
	records := []string{
		good, other, strings.Replace(good, "telemetry-span", "telemetry-spa", 1), strings.Replace(good, "telemetry-span", "secrets---span", 1),
		strings.Replace(good, "01:02:03.004Z", "01:02:59.999Z", 1), strings.Replace(good, "01:02:03.004Z", "01:02:x3.004Z", 1),
		strings.Replace(good, "2026-11-23T01:02", "2026-11-2xT01:02", 1), strings.Replace(good, "2026-11-23T01:02:", strings.Repeat("\x00", 16)+":", 1),
		strings.Replace(good, "2026-11-23T01:02", "9999-11-23T01:02", 1),
	}
	var p Parser
	for _, first := range records {
		for _, second := range records {
			_, _ = p.Parse([]byte(first))
			got, err := p.Parse([]byte(second))
			want, wantErr := Parse([]byte(second))
			if fmt.Sprint(got, err) != fmt.Sprint(want, wantErr) {
				t.Fatalf("behind %s\n%s\nis %+v, %v\nwant %+v, %v", first, second, got, err, want, wantErr)
			}
		}
	}
}

func TestCutsFindARecordAgain(t *testing.T) {
	t.Parallel()
	h := head()
	plain := AppendRecord(nil, h, []byte(`{"a":1}`))
	h.Earlier, h.Digest, h.Index = "telemetry-span-undated", 7, "telemetry-log-2026"
	full := AppendRecord(nil, h, []byte(`{"a":1}`))
	for _, data := range [][]byte{plain, full} {
		want, err := Parse(data)
		if err != nil {
			t.Fatal(err)
		}
		got, stands := want.Cuts().Of(data)
		want.DocID, want.ReceivedAt, want.Digest = DocID{}, time.Time{}, 0
		if !stands || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %t, want %+v", got, stands, want)
		}
		for name, instead := range map[string][]byte{
			"nothing": nil, "its beginning": data[:60], "zeros": make([]byte, len(data)), "another": bytes.Replace(data, []byte("telemetry-"), []byte("telemetry-x"), 1),
		} {
			if _, stands := want.Cuts().Of(instead); stands {
				t.Errorf("%s stands where the record stood", name)
			}
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
		again, stands := r.Cuts().Of(data)
		if !stands || !bytes.Equal(again.Index, r.Index) || !bytes.Equal(again.Earlier, r.Earlier) || !bytes.Equal(again.Tenant(), r.Tenant()) ||
			!bytes.Equal(again.DocIDText, r.DocIDText) || !bytes.Equal(again.Document, r.Document) {
			t.Fatalf("cut again it is %+v, not %+v", again, r)
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

// BenchmarkTrace asks a record that belongs to none, as nearly all do.
func BenchmarkTrace(b *testing.B) {
	record, err := Parse(AppendRecord(nil, head(), []byte(`{"name":"`+strings.Repeat("x", 250)+`"}`)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if record.Trace() != nil {
			b.Fatal("it has a trace")
		}
	}
}

func TestParseIndexInvertsIndexName(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	year := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	window := Window{DaysBack: DefaultDaysBack, DaysAhead: DefaultDaysAhead}
	for _, kind := range append(Types, TypeOther) {
		for _, c := range []struct {
			at, received time.Time
			want         IndexParts
		}{
			{time.Time{}, day, IndexParts{kind, NoPeriod, time.Time{}}},
			{day.Add(time.Hour), day, IndexParts{kind, Daily, day}},
			{day.Add(time.Hour), day.AddDate(0, 1, 0), IndexParts{kind, Yearly, year}},
		} {
			name := window.Place(kind, c.at, c.received).Index
			if got, ok := ParseIndex(name); !ok || got.Type != kind || got.Period != c.want.Period || !got.Begin.Equal(c.want.Begin) {
				t.Errorf("%s gives %v, %v, want %v", name, got, ok, c.want)
			}
		}
	}
	for _, name := range []string{
		"", "telemetry", "telemetry-", "telemetry-span", "telemetry-undated", "telemetry-span-2026.11.24-restored", "telemetry-span-2026.13.24",
		"telemetry-span-2026.11", "copy-telemetry-span-2026.11.24", "telemetry-span-undated-2", "telemetry-span-20x6",
	} {
		if parts, ok := ParseIndex(name); ok {
			t.Errorf("%q is taken for %v", name, parts)
		}
	}
}

func TestPlacementFollowsArrival(t *testing.T) {
	t.Parallel()
	arrival := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	window := Window{DaysBack: 8, DaysAhead: 1}
	own := func(at time.Time) string { return IndexName("log", at) }
	for name, c := range map[string]struct {
		at             time.Time
		index, earlier string
	}{
		"now":                     {arrival, "telemetry-log-2026.11.23", ""},
		"a clock slightly ahead":  {arrival.Add(ClockSkew), "telemetry-log-2026.11.23", ""},
		"a clock an hour ahead":   {arrival.Add(time.Hour), "telemetry-log-2026.11.23", "telemetry-log-undated"},
		"the last day ahead":      {arrival.Add(36*time.Hour - 1), "telemetry-log-2026.11.24", "telemetry-log-undated"},
		"the first day too far":   {arrival.Add(36 * time.Hour), "telemetry-log-undated", "telemetry-log-2026.11.25"},
		"the last day back":       {time.Date(2026, 11, 15, 0, 0, 0, 0, time.UTC), "telemetry-log-2026.11.15", ""},
		"the first day too early": {time.Date(2026, 11, 14, 23, 59, 59, 0, time.UTC), "telemetry-log-2026", "telemetry-log-2026.11.14"},
		"years ago":               {EarliestTimestamp, "telemetry-log-2020", "telemetry-log-2020.01.01"},
		"not usable":              {LatestTimestamp, "telemetry-log-undated", ""},
		"none":                    {time.Time{}, "telemetry-log-undated", ""},
	} {
		want := Placement{Own: own(c.at), Index: c.index, Earlier: c.earlier}
		if got := window.Place("log", c.at, arrival); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// A record moves on from undated to daily to its year, under one identity, and
// each step finds the one before it.
func TestResendFindsEarlierIndex(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	window := Window{DaysBack: 8, DaysAhead: 1}
	last := Placement{}
	for _, arrival := range []time.Time{at.AddDate(0, 0, -2), at.AddDate(0, 0, -1), at.AddDate(0, 0, 9)} {
		p := window.Place("log", at, arrival)
		if p.Own != IndexName("log", at) {
			t.Errorf("identity %s", p.Own)
		}
		if last.Index != "" && p.Earlier != last.Index {
			t.Errorf("received at %s it looks in %q, and it may stand in %s", arrival, p.Earlier, last.Index)
		}
		last = p
	}
}

func TestFieldsAreReadByPosition(t *testing.T) {
	t.Parallel()
	for _, h := range []Head{head(), dated()} {
		data := AppendRecord(nil, h, []byte(`{"Tenant":"victim","Doc_ID":"x","INDEX":".security","id":"y","TYPE":"z","Region":"moon","tenant":"w"}`))
		want := Fields{DocID: h.DocID().String(), Index: h.Index, Tenant: h.Tenant, Region: h.Region, ID: h.ID, Type: h.Type}
		if got := ParseFields(data); got != want {
			t.Errorf("fields %+v, want %+v", got, want)
		}
	}
	for _, foreign := range []string{``, `{}`, `{"tenant":"victim"}`, `{"doc_id":"9V9VkRcu7WuwL3w7r7QXLbiDymk","index":".security","tenant":"victim"}`} {
		if got := ParseFields([]byte(foreign)); got != (Fields{}) {
			t.Errorf("%s gives %+v", foreign, got)
		}
	}
}

// dated is a head with everything that may stand in one.
func dated() Head {
	h := head()
	p := Window{DaysBack: 8, DaysAhead: 1}.Place("span", received.AddDate(-1, 0, 0), received)
	h.Index, h.Own, h.Earlier, h.Digest = p.Index, p.Own, p.Earlier, DigestOf("span", h.Timestamp, []byte(`{}`))
	return h
}

func TestHeadNamesEarlierIndex(t *testing.T) {
	t.Parallel()
	h := dated()
	r, err := Parse(AppendRecord(nil, h, []byte(`{"a":1}`)))
	if err != nil {
		t.Fatal(err)
	}
	if r.Digest != h.Digest || string(r.Earlier) != "telemetry-span-2025.11.23" || string(r.Index) != "telemetry-span-2025" {
		t.Errorf("digest %s, earlier %s, index %s", r.Digest, r.Earlier, r.Index)
	}
	if r.DocID != NewDocID(h.Tenant, "telemetry-span-2025.11.23", h.ID) {
		t.Error("arrival changes the identity")
	}
	var document map[string]any
	if err := json.Unmarshal(append([]byte("{"), r.Document...), &document); err != nil || document["digest"] != h.Digest.String() {
		t.Errorf("document %v, %v", document, err)
	}
	whole := string(AppendRecord(nil, h, []byte(`{}`)))
	for _, damaged := range []string{
		strings.Replace(whole, h.Digest.String(), "0123456789abcdeg", 1),
		strings.Replace(whole, h.Digest.String(), "0123", 1),
		strings.Replace(whole, `"earlier_index":"telemetry`, `"earlier_index":".security`, 1),
		whole[:strings.Index(whole, `,"tenant"`)-3],
	} {
		if _, err := Parse([]byte(damaged)); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", damaged, err)
		}
	}
}

func TestDigestDistinguishesContents(t *testing.T) {
	t.Parallel()
	at := received
	first := DigestOf("log", at, []byte(`{"a":1}`))
	// In every document and every cache: it may never change.
	if want := "8346bd781dc61d6a"; first.String() != want {
		t.Errorf("digest %s, want %s", first, want)
	}
	if again := DigestOf("log", at.In(time.FixedZone("ahead", 3600)), []byte(`{"a":1}`)); again != first {
		t.Errorf("the same record has digest %s and %s", first, again)
	}
	for _, other := range []Digest{
		DigestOf("span", at, []byte(`{"a":1}`)), DigestOf("log", at.Add(1), []byte(`{"a":1}`)),
		DigestOf("log", time.Time{}, []byte(`{"a":1}`)), DigestOf("log", at, []byte(`{"a":2}`)),
	} {
		if other == first {
			t.Errorf("another record has digest %s, too", other)
		}
	}
	if d, err := ParseDigest(first.String()); err != nil || d != first {
		t.Errorf("%s, %v", d, err)
	}
	for _, text := range []string{"", "12", "0123456789abcdeg", "0123456789abcdef0"} {
		if _, err := ParseDigest(text); err == nil {
			t.Errorf("%q is taken for a digest", text)
		}
	}
}

// TestNamesListsEveryWritableIndex, and no others.
func TestNamesListsEveryWritableIndex(t *testing.T) {
	t.Parallel()
	for _, received := range []time.Time{
		time.Date(2026, 11, 24, 13, 0, 0, 0, time.UTC), time.Date(2027, 1, 8, 23, 59, 59, 0, time.UTC), time.Date(2027, 1, 10, 0, 0, 0, 0, time.UTC),
	} {
		w := Window{DaysBack: DefaultDaysBack, DaysAhead: DefaultDaysAhead}
		want := map[string]bool{}
		for _, kind := range append(slices.Clone(Types), "made up") {
			for at := EarliestTimestamp.AddDate(0, 0, -1); !at.After(LatestTimestamp); at = at.AddDate(0, 0, 1) {
				want[w.Place(kind, at, received).Index] = true
			}
		}
		got := w.Names(received)
		for _, name := range got {
			if !want[name] {
				t.Errorf("at %s no record is written to %s", received, name)
			}
		}
		if unique := slices.Compact(slices.Sorted(slices.Values(got))); len(unique) != len(want) || len(unique) > 140 {
			t.Errorf("at %s there are %d names, want %d", received, len(unique), len(want))
		}
	}
}
