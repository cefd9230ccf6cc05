package api

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/protobuf/encoding/protowire"
)

// inField is a field of a protobuf message that holds bytes.
func inField(number protowire.Number, parts ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), bytes.Join(parts, nil))
}

func text(number protowire.Number, value string) []byte { return inField(number, []byte(value)) }

// exported puts records, each with its field's tag, into a request.
func exported(records ...[]byte) []byte {
	return inField(resourcesField, inField(scopesField, records...))
}

// exportOf answers a protobuf request, and what its partial success says.
func (c *collector) exportOf(t *testing.T, path string, body []byte) (status int, rejected int64, why string) {
	t.Helper()
	r := c.post(t, path, bytes.NewReader(body), "Content-Type", "application/x-protobuf")
	var err error
	switch {
	case r.status != http.StatusOK:
		_, why = statusOf(t, r, "application/x-protobuf")
	case path == traceSignal.path:
		response := ptraceotlp.NewExportResponse()
		err = response.UnmarshalProto(r.body)
		rejected, why = response.PartialSuccess().RejectedSpans(), response.PartialSuccess().ErrorMessage()
	case path == logSignal.path:
		response := plogotlp.NewExportResponse()
		err = response.UnmarshalProto(r.body)
		rejected, why = response.PartialSuccess().RejectedLogRecords(), response.PartialSuccess().ErrorMessage()
	default:
		response := pmetricotlp.NewExportResponse()
		err = response.UnmarshalProto(r.body)
		rejected, why = response.PartialSuccess().RejectedDataPoints(), response.PartialSuccess().ErrorMessage()
	}
	if err != nil {
		t.Errorf("the answer is no response: %v: %q", err, r.body)
	}
	return r.status, rejected, why
}

// signalRecords is how a record of each signal is encoded.
var signalRecords = []struct {
	path      string
	good, bad []byte // bad cannot be decoded
	reason    string
}{
	{traceSignal.path, inField(2, text(5, "good")), inField(2, text(1, "abc")), "cannot be decoded: unmarshal: invalid TraceID length"},
	{logSignal.path, inField(2, text(3, "good")), inField(2, text(9, "abc")), "cannot be decoded: unmarshal: invalid TraceID length"},
	{metricSignal.path, inField(2, text(1, "good"), inField(5, inField(1))), inField(2, text(1, "bad"), inField(5, inField(1, []byte{0x1d}))), "is not a protobuf message"},
}

func TestBadRecordIsRejectedAlone(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for _, s := range signalRecords {
		status, rejected, why := c.exportOf(t, s.path, exported(s.good, s.bad, s.good))
		if status != 200 || rejected != 1 || why != "record 1 "+s.reason {
			t.Errorf("%s: answered %d, %d rejected, %q", s.path, status, rejected, why)
		}
		if got := c.stream.take(t); len(got) != 2 {
			t.Errorf("%s: %d records came through, want 2", s.path, len(got))
		}
	}
	// Around the records nothing may be wrong: how many they are is unknown then.
	for _, body := range [][]byte{{0x0a, 0x05, 0x12}, {0x08, 0x01}, {0, 0}, append([]byte{0, 5}, "hello"...), inField(1, []byte{0x10, 0x01}), inField(1, inField(2, []byte{0x12, 0xff}))} {
		if status, _, why := c.exportOf(t, "/v1/logs", body); status != 400 || why != errProtobuf.Error() {
			t.Errorf("%x: answered %d, %q", body, status, why)
		}
	}
}

func TestRecordsBeyondLimitAreLeftOut(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{Records: 3})
	for _, s := range signalRecords {
		body := slices.Concat(exported(s.good, s.bad), exported(s.good, s.good), exported(s.good))
		status, rejected, why := c.exportOf(t, s.path, body)
		want := "record 1 " + s.reason + "; the last 2 records were left out, since a request may have 3"
		if status != 200 || rejected != 3 || why != want {
			t.Errorf("%s: answered %d, %d rejected, %q, want %q", s.path, status, rejected, why, want)
		}
		if got := c.stream.take(t); len(got) != 2 {
			t.Errorf("%s: %d records came through, want 2", s.path, len(got))
		}
	}
	// Points count, not metrics; of one metric some may be left out.
	five := exported(inField(2, text(1, "m"), inField(7, inField(1), inField(1), inField(1), inField(1), inField(1))))
	if status, rejected, _ := c.exportOf(t, "/v1/metrics", five); status != 200 || rejected != 2 || len(c.stream.take(t)) != 3 {
		t.Errorf("five points of one metric: answered %d, %d rejected", status, rejected)
	}
	tooMany := `{"resourceLogs":[{"scopeLogs":[{"log\u0052ecords":[{},{}]},{"logRecords":[{},{}]}]}]}`
	if r := c.postText(t, "/v1/logs", tooMany, "Content-Type", "application/json"); r.status != 200 || len(c.stream.take(t)) != 3 {
		t.Errorf("JSON: answered %d %s", r.status, r.body)
	}
}

// held is how much the collector allocates for a post of protobuf, which comes
// compressed.
func (c *collector) held(t *testing.T, path, mediaType string, body []byte) (bytesHeld uint64, answered *httptest.ResponseRecorder) {
	t.Helper()
	packed := compressed(t, "gzip", body)
	request := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(packed))
	request.Header.Set("Content-Type", mediaType)
	request.Header.Set("Content-Encoding", "gzip")
	request.Header.Set("Authorization", "ApiKey "+c.key)
	answered = httptest.NewRecorder()
	handler := c.Handler()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	handler.ServeHTTP(answered, request)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, answered
}

// Two bytes of a body may be a message of two hundred in memory. None of these
// may be decoded before its size is known. It does not run beside others, which
// allocate too.
func TestEmptyMessagesAreCountedBeforeTheyAreDecoded(t *testing.T) {
	// A quarter of the defaults: under the race detector, the whole takes minutes.
	const part = 4
	c := newCollector(t, Limits{BodyBytes: DefaultBodyBytes / part, Records: DefaultRecords / part, Values: DefaultValues / part})
	c.ingester = ingestFunc(nil)
	const many = 5_200_000 / part
	for name, test := range map[string]struct {
		path, mediaType string
		body            []byte
	}{
		"log records":                    {"/v1/logs", "application/x-protobuf", exported(bytes.Repeat([]byte{0x12, 0}, many))},
		"spans":                          {"/v1/traces", "application/x-protobuf", exported(bytes.Repeat([]byte{0x12, 0}, many))},
		"metrics":                        {"/v1/metrics", "application/x-protobuf", exported(bytes.Repeat([]byte{0x12, 0}, many))},
		"points":                         {"/v1/metrics", "application/x-protobuf", exported(inField(2, inField(5, bytes.Repeat([]byte{0x0a, 0}, many))))},
		"resources":                      {"/v1/logs", "application/x-protobuf", bytes.Repeat([]byte{0x0a, 0}, many)},
		"scopes":                         {"/v1/logs", "application/x-protobuf", inField(1, bytes.Repeat([]byte{0x12, 0}, many))},
		"attributes":                     {"/v1/logs", "application/x-protobuf", exported(inField(2, bytes.Repeat([]byte{0x32, 0}, many)))},
		"fewer, but too many attributes": {"/v1/logs", "application/x-protobuf", exported(inField(2, bytes.Repeat([]byte{0x32, 0}, DefaultRecordBytes/2-10)))},
		"events":                         {"/v1/traces", "application/x-protobuf", exported(inField(2, bytes.Repeat([]byte{0x5a, 0}, many)))},
		"attributes of a resource":       {"/v1/logs", "application/x-protobuf", inField(1, inField(1, bytes.Repeat([]byte{0x0a, 0}, many)), inField(2, inField(2)))},
		"log records in JSON":            {"/v1/logs", "application/json", []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}` + strings.Repeat(",{}", 3_400_000/part) + `]}]}]}`)},
		"our own":                        {"/v1/telemetry", "application/json", []byte("[1" + strings.Repeat(",1", many-100) + "]")},
		"our own, good ones":             {"/v1/telemetry", "application/json", []byte(`[{"type":"l"}` + strings.Repeat(`,{"type":"l"}`, 800_000/part) + "]")},
		"our own, each on a line":        {"/v1/telemetry", "application/x-ndjson", bytes.Repeat([]byte("1\n"), many)},
		"envelopes":                      {"/v1/monitoring-data", "application/json", []byte("[{}" + strings.Repeat(",{}", 3_400_000/part) + "]")},
		"records of an envelope":         {"/v1/monitoring-data", "application/json", []byte(`{"type":"Composite","data":{"allMonitoringData":[{}` + strings.Repeat(",{}", 3_400_000/part) + "]}}")},
	} {
		c.ingester = c.stream
		held, answered := c.held(t, test.path, test.mediaType, test.body)
		records := len(c.stream.records)
		c.stream.records = nil
		// The body alone, as it grows, takes six times the limit in all.
		t.Logf("%s: %d MiB, %d records, %d", name, held>>20, records, answered.Code)
		if most := uint64(6*DefaultBodyBytes+36<<20) / part; held > most || records > DefaultRecords/part {
			t.Errorf("%s: %d MiB were allocated, %d records came through, answered %d %.200q", name, held>>20, records, answered.Code, answered.Body)
		}
	}
}

// An agent whose resource no record can hold is told so each time. It must not
// be asked to come again for ever, nor cost its neighbours.
func TestOversizedResourceRejectsItsRecords(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{RecordBytes: 2000, Values: 100})
	attribute := func(value string) []byte { return inField(1, text(1, "k"), inField(2, text(1, value))) }
	for name, test := range map[string]struct {
		resource []byte
		reason   string
	}{
		"encoded": {attribute(strings.Repeat("x", 2000)), "has a resource that is encoded in 2012 bytes, more than 2000"},
		"written": {attribute(strings.Repeat("\x01", 1000)), "has a resource of 6034 bytes, more than the 2000 of a record"},
		"values":  {bytes.Repeat(inField(1), 101), "has a resource that has 101 values, more than 100"},
	} {
		with := inField(1, inField(1, test.resource), inField(2, signalRecords[0].good))
		want := fmt.Sprintf("no record can be taken: record 0 %s", test.reason)
		if status, _, why := c.exportOf(t, "/v1/traces", with); status != 400 || why != want {
			t.Errorf("%s: answered %d, %q, want %q", name, status, why, want)
		}
		status, rejected, why := c.exportOf(t, "/v1/traces", append(with, exported(signalRecords[0].good)...))
		if status != 200 || rejected != 1 || why != "record 0 "+test.reason || len(c.stream.take(t)) != 1 {
			t.Errorf("%s, beside another: answered %d, %d rejected, %q", name, status, rejected, why)
		}
	}
}

// Protobuf lets the fields of a message come in any order, and in parts.
func TestProtobufFieldsComeInAnyOrder(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	resource := func(key string) []byte { return inField(1, inField(1, text(1, key), inField(2, text(1, "v")))) }
	span := inField(2, text(5, "good"))
	body := inField(1, inField(1000, span), resource("a"), inField(2, span, inField(1, text(1, "lib"))), text(3, "https://r"), resource("b"))
	if status, _, why := c.exportOf(t, "/v1/traces", body); status != 200 || !strings.HasSuffix(why, "field 1000 (taken as scopes)") {
		t.Fatalf("answered %d, %q", status, why)
	}
	got := c.stream.take(t)
	if len(got) != 2 {
		t.Fatalf("%d records came through, want 2", len(got))
	}
	for i, document := range got {
		want := `map[attributes:map[a:v b:v] schema_url:https://r]`
		if text := fmt.Sprint(document["resource"]); text != want || document["name"] != "good" {
			t.Errorf("record %d: the resource is %s, want %s", i, text, want)
		}
	}
	if text := fmt.Sprint(got[0]["scope"], got[1]["scope"]); text != "<nil> map[name:lib]" {
		t.Errorf("the scopes are %s", text)
	}
	// A metric's kind may stand before its name, and be there in parts.
	body = exported(inField(2, inField(7, inField(1), []byte{0x10, 2, 0x18, 1}), text(1, "m"), inField(7, inField(1))))
	if status, _, why := c.exportOf(t, "/v1/metrics", body); status != 200 || why != "" {
		t.Fatalf("answered %d, %q", status, why)
	}
	for i, document := range c.stream.take(t) {
		if document["name"] != "m" || document["metric_type"] != "sum" {
			t.Errorf("point %d is %v", i, document)
		}
	}
}
