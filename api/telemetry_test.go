package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/load"
	"millrace/internal/telemetry"
)

// headOf checks the head of a document and returns the rest, the body.
func headOf(t *testing.T, document map[string]any, id, recordType, index, timestamp string) map[string]any {
	t.Helper()
	rest := maps.Clone(document)
	for name, want := range map[string]string{
		"doc_id": telemetry.NewDocID(testTenant, index, id).String(), "index": index, "tenant": testTenant, "region": testRegion,
		"id": id, "type": recordType, "@timestamp": timestamp,
	} {
		if timestamp == "" && name == "@timestamp" {
			at, _ := document[name].(string)
			received, _ := document["received_at"].(string)
			if strings.TrimRight(at, "0.Z") != strings.TrimRight(received, "0.Z") {
				t.Errorf("%s is %v, want received_at %v", name, at, received)
			}
		} else if document[name] != want {
			t.Errorf("%s is %v, want %s", name, document[name], want)
		}
		delete(rest, name)
	}
	if received := document["received_at"]; received != testNow.Format(telemetry.ReceivedAtLayout) {
		t.Errorf("received_at is %v", received)
	}
	if _, err := telemetry.ParseDigest(fmt.Sprint(document["digest"])); err != nil {
		t.Errorf("digest %v: %v", document["digest"], err)
	}
	delete(rest, "received_at")
	delete(rest, "digest")
	return rest
}

func object(t *testing.T, text string) map[string]any {
	t.Helper()
	return decodeStrictly(t, []byte(text))
}

func TestTelemetryBecomesStreamRecords(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for _, test := range []struct {
		name, record                         string
		id, recordType, index, at, bodyAfter string
	}{
		{
			"a span", `{"id":"s-1","type":"span","timestamp":"2026-11-23T10:00:00.123456789Z","duration":12,"attributes":{"a":[1,{"b":null}]}}`,
			"s-1", "span", "telemetry-span-2026.11.23", "2026-11-23T10:00:00.123456789Z", `{"duration":12,"attributes":{"a":[1,{"b":null}]}}`,
		},
		{
			"white space", " {\r\n\t\"id\" : \"s 2\" ,\n\"type\":\"Span\",\"timestamp\":\"2026-11-23T23:30:00-01:00\" , \"a b\" : [ 1 , \" x \\\" y \" ] } ",
			"s 2", "span", "telemetry-span-2026.11.24", "2026-11-24T00:30:00Z", `{"a b":[1," x \" y "]}`,
		},
		{
			"numbers as they are", `{"id":1e2,"type":"metric","timestamp":1795428000000,"n":[123456789012345678901234567890,1.10,-0e-7]}`,
			"1e2", "metric", "telemetry-metric-2026.11.23", "2026-11-23T10:00:00Z", `{"n":[123456789012345678901234567890,1.10,-0e-7]}`,
		},
		{
			"a fraction of a millisecond", `{"id":"x","type":"log","timestamp":1795428000000.000001}`,
			"x", "log", "telemetry-log-2026.11.23", "2026-11-23T10:00:00.000000001Z", `{}`,
		},
		{
			"a type of its own", `{"id":"x","type":"Deployment/ÄÖ","timestamp":"2026-11-23T10:00:00Z","ü":"é\u00e9\ud83d\ude00"}`,
			"x", "deployment/äö", "telemetry-other-2026.11.23", "2026-11-23T10:00:00Z", `{"ü":"éé😀"}`,
		},
		{
			"escapes in what counts", `{"\u0069d":"a\u0022\n\ud83d\ude00","t\u0079pe":"\u0073pan","timestamp":"2026-11-23T10:00:00Z","\u0074enant":"mine","x\u0020":1}`,
			"a\"\n😀", "span", "telemetry-span-2026.11.23", "2026-11-23T10:00:00Z", `{"x ":1,"original_tenant":"mine"}`,
		},
		{
			"the pipeline's own names", `{"id":"x","type":"event","timestamp":"2026-11-23T10:00:00Z","doc_id":"d","index":"i","received_at":1,"tenant":"other","region":"r","indexed_at":"now","@timestamp":"2020-02-02T00:00:00Z","kept":true}`,
			"x", "event", "telemetry-event-2026.11.23", "2026-11-23T10:00:00Z",
			`{"kept":true,"original_doc_id":"d","original_index":"i","original_received_at":1,"original_tenant":"other","original_region":"r","original_indexed_at":"now","original_@timestamp":"2020-02-02T00:00:00Z"}`,
		},
		{
			"the time under its name in a document", `{"@timestamp":"2026-11-23T10:00:00Z","timestamp":null,"id":"x","type":"log"}`,
			"x", "log", "telemetry-log-2026.11.23", "2026-11-23T10:00:00Z", `{}`,
		},
		{"no time", `{"id":"x","type":"log","a":1}`, "x", "log", "telemetry-log-undated", "", `{"a":1}`},
		{"long ago", `{"id":"x","type":"log","timestamp":"1999-12-31T23:59:59Z"}`, "x", "log", "telemetry-log-undated", "", `{"original_timestamp":"1999-12-31T23:59:59Z"}`},
		{"far ahead", `{"id":"x","type":"log","timestamp":1e300}`, "x", "log", "telemetry-log-undated", "", `{"original_timestamp":1e300}`},
		{"seconds for milliseconds", `{"id":"x","type":"log","timestamp":1795428000}`, "x", "log", "telemetry-log-undated", "", `{"original_timestamp":1795428000}`},
		{"no kind of time", `{"id":"x","type":"log","timestamp":{"at": "noon"}}`, "x", "log", "telemetry-log-undated", "", `{"original_timestamp":{"at":"noon"}}`},
		{"a time kept before", `{"id":"x","type":"log","timestamp":"noon","original_timestamp":"dawn"}`, "x", "log", "telemetry-log-undated", "", `{"original_timestamp":"dawn","original_members":{"timestamp":"noon"}}`},
	} {
		r := c.postText(t, "/v1/telemetry", "["+test.record+"]", "Content-Type", "application/json; charset=utf-8")
		if r.status != 202 || string(r.body) != `{"accepted":1,"rejected":[]}`+"\n" {
			t.Errorf("%s: answered %d %s", test.name, r.status, r.body)
			continue
		}
		body := headOf(t, c.stream.take(t)[0], test.id, test.recordType, test.index, test.at)
		if want := object(t, test.bodyAfter); !reflect.DeepEqual(body, want) {
			t.Errorf("%s: the body is %v, want %v", test.name, body, want)
		}
	}
}

func TestRecordBytes(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	c.postText(t, "/v1/telemetry", `[{"a": 1.0, "id":"x", "b":{ "c":"d\/" }, "type":"log","timestamp":"2026-11-23T10:00:00.5Z"}]`)
	want := `{"doc_id":"` + telemetry.NewDocID(testTenant, "telemetry-log-2026.11.23", "x").String() + `","index":"telemetry-log-2026.11.23",` +
		`"received_at":"2026-11-27T12:00:00.005Z","digest":"` + telemetry.DigestOf("log", time.Date(2026, 11, 23, 10, 0, 0, 500_000_000, time.UTC), []byte(`{"a":1.0,"b":{"c":"d\/"}}`)).String() +
		`","tenant":"acme","region":"eu-west-1","id":"x","type":"log","@timestamp":"2026-11-23T10:00:00.5Z","a":1.0,"b":{"c":"d\/"}}`
	if got := string(c.stream.records[0]); got != want {
		t.Errorf("the record is\n%s\nwant\n%s", got, want)
	}
}

func TestRecordsAreValidatedSeparately(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{Depth: 4, RecordBytes: 2000})
	for _, test := range []struct{ record, reason string }{
		{`1`, "is not a JSON object"},
		{`[[{}]]`, "is not a JSON object"},
		{`null`, "is not a JSON object"},
		{`{}`, "has no type"},
		{`{"type":null}`, "has no type"},
		{`{"type":""}`, "has no type"},
		{`{"type":1}`, "type is not a string"},
		{`{"type":"` + strings.Repeat("x", 257) + `"}`, "type is longer than 256 characters"},
		{`{"type":"log","id":true}`, "id is neither a string nor a number"},
		{`{"type":"log","id":{}}`, "id is neither a string nor a number"},
		{`{"type":"log","id":"` + strings.Repeat("x", 1025) + `"}`, "id is longer than 1024 characters"},
		{`{"type":"log","a":1,"\u0061":2}`, `has "a" twice`},
		{`{"type":"log","tenant":1,"tenant":2}`, `has "tenant" twice`},
		{`{"type":"log","id":"a","\u0069d":"b"}`, `has "id" twice`},
		{`{"type":"log",` + members(40) + `,"m7":1}`, `has "m7" twice`},
		{`{"type":"log","a":[[[[]]]]}`, "is nested 5 deep, more than 4"},
		{`{"type":"log","id":[[[[]]]]}`, "id is neither a string nor a number"},
		{"{\"type\":\"log\",\"a\":\"\xff\"}", "is not valid UTF-8"},
		{"{\"type\":\"log\",\"\xc3\x28\":1}", "is not valid UTF-8"},
		{`{"type":"log","id":"x","timestamp":"2026-11-23T10:00:00Z","a":"` + strings.Repeat("x", 2000) + `"}`, "is 2246 bytes long with what the collector adds, more than 2000"},
	} {
		good := `{"id":"%d","type":"log","a":[[[]]],"timestamp":"2026-11-23T10:00:00Z"}`
		body := "[" + fmt.Sprintf(good, 0) + "," + test.record + "," + fmt.Sprintf(good, 2) + "]"
		want := []Rejection{{Position: 1, Reason: test.reason}}
		if r := c.postText(t, "/v1/telemetry", body); r.status != 202 || r.Accepted != 2 || !slices.Equal(r.Rejected, want) {
			t.Errorf("%.80s: answered %d %s, want %v", test.record, r.status, r.body, want)
		}
		if got := c.stream.take(t); len(got) != 2 || got[0]["id"] != "0" || got[1]["id"] != "2" {
			t.Errorf("%.80s: came through: %v", test.record, got)
		}
		r := c.postText(t, "/v1/telemetry", "["+test.record+"]")
		if r.status != 400 || r.Error == "" || !slices.Equal(r.Rejected, []Rejection{{Reason: test.reason}}) {
			t.Errorf("%.80s alone: answered %d %s", test.record, r.status, r.body)
		}
	}
}

// members returns so many members m0, m1, …
func members(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"m%d":%d`, i, i))
	}
	return strings.Join(all, ",")
}

func TestLinesAreValidatedSeparately(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	body := `{"id":"0","type":"log"}` + "\r\n\n  \n" + `{"id":"1","type":"log"} {}` + "\n" + `{"id":"2","type":` + "\n" +
		`[{"id":"3","type":"log"}]` + "\n" + ` {"id":"4","type":"log"} `
	for _, mediaType := range []string{"application/x-ndjson", "application/jsonl", ""} {
		r := c.postText(t, "/v1/telemetry", body, "Content-Type", mediaType)
		if r.status != 202 || r.Accepted != 2 || !slices.Equal(r.positions(), []int{1, 2, 3}) {
			t.Errorf("%q: answered %d %s", mediaType, r.status, r.body)
		}
		if got := c.stream.take(t); len(got) != 2 || got[0]["id"] != "0" || got[1]["id"] != "4" {
			t.Errorf("%q: came through: %v", mediaType, got)
		}
	}
	for _, empty := range []string{"", "\n\n"} {
		if r := c.postText(t, "/v1/telemetry", empty, "Content-Type", "application/x-ndjson"); r.status != 202 || r.Accepted != 0 {
			t.Errorf("%q: answered %d %s", empty, r.status, r.body)
		}
	}
	if r := c.postText(t, "/v1/telemetry", "{\n\"type\":\"log\"\n}", "Content-Type", "application/json"); r.status != 202 || r.Accepted != 1 {
		t.Errorf("a single object over three lines: answered %d %s", r.status, r.body)
	}
}

// Records without an id: a request posted again gives the same records, two
// equal ones in it are two, and so are those of two requests.
func TestIdentityWithoutID(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	ids := func(body string, headers ...string) []string {
		var ids []string
		if r := c.post(t, "/v1/telemetry", strings.NewReader(body), headers...); r.status != 202 {
			t.Fatalf("answered %d %s", r.status, r.body)
		}
		for _, document := range c.stream.take(t) {
			ids = append(ids, document["id"].(string))
		}
		return ids
	}
	line := `{"type":"log","id":null,"timestamp":"2026-11-23T10:00:00Z"}`
	body := "[" + line + "," + line + ",1," + strings.Replace(line, "null", `""`, 1) + "]"
	first := ids(body)
	if len(first) != 3 || first[0] == first[1] || first[1] == first[2] || !strings.HasSuffix(first[2], "-3") {
		t.Errorf("ids of equal lines are %v", first)
	}
	if again := ids(body); !slices.Equal(again, first) {
		t.Errorf("the ids of a retry are %v, before %v", again, first)
	}
	if again := ids(string(compressed(t, "gzip", []byte(body))), "Content-Encoding", "gzip"); !slices.Equal(again, first) {
		t.Errorf("the ids of a compressed retry are %v, before %v", again, first)
	}
	if other := ids(body + "\n"); slices.Contains(first, other[0]) {
		t.Error("another request gives the same ids")
	}
}

// A device that says the same twice means two events, unless it says that it is
// a retry.
func TestRecordsWithNeitherIDNorTime(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	const event = `{"type":"event","name":"door opened"}`
	ids := func(path, body, key string) []string {
		var ids []string
		if r := c.post(t, path, strings.NewReader(body), "Idempotency-Key", key); r.status >= 300 {
			t.Fatalf("answered %d %s", r.status, r.body)
		}
		for _, document := range c.stream.take(t) {
			ids = append(ids, document["id"].(string))
		}
		return ids
	}
	two := event + "\n" + event
	first, again := ids("/v1/telemetry", two, ""), ids("/v1/telemetry", two, "")
	if first[0] == first[1] || slices.Contains(first, again[0]) || slices.Contains(first, again[1]) {
		t.Errorf("without a key the ids are %v and %v", first, again)
	}
	first, again = ids("/v1/telemetry", two, "k"), ids("/v1/telemetry", two, "k")
	if first[0] == first[1] || !slices.Equal(first, again) {
		t.Errorf("with a key the ids are %v, again %v", first, again)
	}
	if other := ids("/v1/telemetry", two, "l"); slices.Contains(first, other[0]) {
		t.Errorf("with another key the id is the same: %v", other)
	}
	if other := ids("/v1/telemetry", event, "k"); slices.Contains(first, other[0]) {
		t.Errorf("with another body the id is the same: %v", other)
	}
	// Agents' records keep the id that their request gives them.
	const span = `{"type":"Span","data":{"operationName":"get"}}`
	if first, again := ids("/v1/monitoring-data", span, ""), ids("/v1/monitoring-data", span, ""); !slices.Equal(first, again) {
		t.Errorf("the ids of an agent's record are %v and %v", first, again)
	}
}

// What the load generator sends is taken as it is: the tests of the pipeline
// compare what is indexed with what it sent.
func TestGeneratedLoadIsAccepted(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	source := &load.Source{Run: "run-1", Start: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), Interval: time.Millisecond, BadShare: 0.2}
	body := []byte{'['}
	for n := range uint64(200) {
		if n > 0 {
			body = append(body, ',')
		}
		body = source.Append(body, n)
	}
	if r := c.postText(t, "/v1/telemetry", string(append(body, ']'))); r.status != 202 || r.Accepted != 200 {
		t.Fatalf("answered %d %.200s", r.status, r.body)
	}
	for n, document := range c.stream.take(t) {
		at := source.Timestamp(uint64(n))
		recordType := source.Type(uint64(n))
		rest := headOf(t, document, source.ID(uint64(n)), recordType, telemetry.IndexName(recordType, at), at.Format(telemetry.TimestampLayout))
		want := object(t, "{"+string(source.AppendBody(nil, uint64(n)))+"}")
		if !reflect.DeepEqual(rest, want) {
			t.Errorf("record %d: the body is %v, want %v", n, rest, want)
		}
	}
}

func TestScannerAgreesWithEncodingJSON(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`0`, `-0`, `-`, `01`, `1.`, `.1`, `1e`, `1e+`, `1E-05`, `+1`, `"`, `"a`, `"\`, `"\x"`, `"\u12"`, `"\u12G4"`, "\"\t\"", `"\t"`, "\"\x7f\"",
		`tru`, `true`, `false`, `nul`, `null`, `nulll`, `{`, `}`, `{}`, `{ }`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a" : 1 , "b":[ ]}`,
		`[`, `]`, `[]`, `[1,]`, `[,1]`, `[1 2]`, `[[]`, `[]]`, `[}`, `{]`, `{"a":[}`, ``, ` `, "\u00a01", "1\x00", "[1]x", strings.Repeat("[", 200) + strings.Repeat("]", 200),
	} {
		s := &scanner{data: []byte(text)}
		value, err := s.value()
		if err == nil {
			err = s.end()
		}
		if s.odd {
			t.Errorf("%q is odd", text)
		}
		if valid := json.Valid([]byte(text)); valid != (err == nil) {
			t.Errorf("%q: %v, and json.Valid says %v", text, err, valid)
		}
		if err == nil && string(value) != strings.TrimSpace(text) {
			t.Errorf("%q: the value is %q", text, value)
		}
	}
}

func TestArrivalDecidesIndexNotIdentity(t *testing.T) {
	t.Parallel()
	for timestamp, want := range map[string]struct{ index, earlier, at, original string }{
		"2026-11-27T11:00:00Z": {"telemetry-log-2026.11.27", "", "2026-11-27T11:00:00Z", ""},
		"2026-11-19T00:00:00Z": {"telemetry-log-2026.11.19", "", "2026-11-19T00:00:00Z", ""},
		"2026-11-18T23:59:59Z": {"telemetry-log-2026", "telemetry-log-2026.11.18", "2026-11-18T23:59:59Z", ""},
		"2020-02-03T00:00:00Z": {"telemetry-log-2020", "telemetry-log-2020.02.03", "2020-02-03T00:00:00Z", ""},
		"2026-11-28T23:59:59Z": {"telemetry-log-2026.11.28", "telemetry-log-undated", "2026-11-28T23:59:59Z", ""},
		"2034-12-30T00:00:00Z": {"telemetry-log-undated", "telemetry-log-2034.12.30", "2026-11-27T12:00:00.005Z", "2034-12-30T00:00:00Z"},
	} {
		c := newCollector(t, Limits{})
		c.postText(t, "/v1/telemetry", `{"type":"log","id":"x","timestamp":"`+timestamp+`"}`)
		r, err := telemetry.Parse(c.stream.records[0])
		if err != nil {
			t.Fatal(err)
		}
		document := c.stream.take(t)[0]
		original, _ := document["original_timestamp"].(string)
		if string(r.Index) != want.index || string(r.Earlier) != want.earlier || document["@timestamp"] != want.at || original != want.original {
			t.Errorf("%s: %v, want %v", timestamp, document, want)
		}
		own := telemetry.IndexPrefix + "log-" + strings.ReplaceAll(timestamp[:10], "-", ".")
		if r.DocID != telemetry.NewDocID(testTenant, own, "x") {
			t.Errorf("%s: the arrival changes the identity", timestamp)
		}
	}
}

func TestConflictingIDIsRejectedOnce(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	record := `{"type":"log","id":"x","timestamp":"2026-11-23T10:00:00Z","a":%d}`
	body := "[" + fmt.Sprintf(record, 1) + "," + fmt.Sprintf(record, 2) + "," + fmt.Sprintf(record, 1) + `,{"type":"log","a":1},{"type":"log","a":2}]`
	want := []Rejection{{Position: 1, Reason: "has the id of an earlier record of this request, and says something else"}}
	if r := c.postText(t, "/v1/telemetry", body); r.status != 202 || r.Accepted != 4 || !slices.Equal(r.Rejected, want) {
		t.Errorf("answered %d %s", r.status, r.body)
	}
}

// Whether a record is ahead depends on its arrival. Sent again a day later it
// says the same.
func TestArrivalDoesNotChangeDigest(t *testing.T) {
	t.Parallel()
	const ahead = 60 * time.Hour
	at := testNow.Add(ahead)
	for name, post := range map[string][3]string{
		"our own": {"/v1/telemetry", "application/json", fmt.Sprintf(`{"type":"log","id":"x","timestamp":%q,"a..b":1}`, at.Format(time.RFC3339))},
		"OTLP":    {"/v1/logs", "application/json", fmt.Sprintf(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"%d"}]}]}]}`, at.UnixNano())},
	} {
		c := newCollector(t, Limits{})
		var digests []any
		for _, received := range []time.Time{testNow, testNow.Add(ahead)} {
			c.now = func() time.Time { return received }
			c.postText(t, post[0], post[2], "Content-Type", post[1])
			document := object(t, string(c.stream.records[0]))
			c.stream.records = nil
			digests = append(digests, document["digest"])
			if _, kept := document["original_timestamp"]; kept != received.Equal(testNow) {
				t.Errorf("%s: received at %v it is %v", name, received, document)
			}
		}
		if digests[0] != digests[1] {
			t.Errorf("%s: the digests are %v", name, digests)
		}
	}
}
