package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// ids that the cases share.
const (
	jsonTrace = "0a0102030405060708090a0b0c0d0e0f"
	jsonSpan  = "ab01020304050607"
)

func spansOf(spans ...string) string {
	return `{"resourceSpans":[{"scopeSpans":[{"spans":[` + strings.Join(spans, ",") + `]}]}]}`
}

func logsOf(records ...string) string {
	return `{"resourceLogs":[{"scopeLogs":[{"logRecords":[` + strings.Join(records, ",") + `]}]}]}`
}

func metricsOf(metrics ...string) string {
	return `{"resourceMetrics":[{"scopeMetrics":[{"metrics":[` + strings.Join(metrics, ",") + `]}]}]}`
}

// bodies are what came through, without the head.
func (c *collector) bodies(t *testing.T) []map[string]any {
	t.Helper()
	got := c.stream.take(t)
	for _, body := range got {
		for _, name := range []string{"doc_id", "index", "tenant", "region", "id", "type", "@timestamp", "received_at", "digest"} {
			delete(body, name)
		}
	}
	return got
}

// What ProtoJSON allows, and serializers write: each stands beside the plain
// form, and both are the same record.
func TestProtoJSONIsReadInEveryForm(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for _, test := range []struct{ name, path, body, want string }{
		{
			"null for every field", "/v1/traces", `{"resourceSpans":[null,{"resource":null,"schemaUrl":null,"scopeSpans":[{"scope":null,"spans":[null,
			{"traceId":null,"spanId":null,"parentSpanId":null,"traceState":null,"flags":null,"name":null,"kind":null,"startTimeUnixNano":null,"endTimeUnixNano":null,
			"attributes":null,"droppedAttributesCount":null,"events":null,"links":[null],"status":null}]}]}]}`,
			`{"status":{"code":"Unset"}}`,
		},
		{
			"null values", "/v1/logs", logsOf(`{"body":{"stringValue":null},"attributes":[null,{"key":"a","value":null},{"key":"b","value":{"intValue":null}},
			{"key":"c","value":{"arrayValue":{"values":[null,{"intValue":1},{}]}}},{"key":null,"value":{"boolValue":false}}]}`),
			`{"attributes":{"a":null,"b":null,"c":[null,1,null],"":false}}`,
		},
		{
			"numbers", "/v1/traces", spansOf(`{"startTimeUnixNano":1.7957736e18,"endTimeUnixNano":"1795773600500000000.0","flags":"2.57e2","droppedAttributesCount":1E0,
			"attributes":[{"key":"a","value":{"intValue":1e3}},{"key":"b","value":{"intValue":"-2.5e3"}},{"key":"c","value":{"intValue":-9223372036854775808}},{"key":"d","value":{"intValue":"9223372036854775807"}},
			{"key":"e","value":{"doubleValue":"1.5"}},{"key":"f","value":{"doubleValue":"-Infinity"}},{"key":"g","value":{"doubleValue":NaN}},{"key":"h","value":{"doubleValue":1e2}}]}`),
			`{"duration":500000000,"flags":257,"dropped_attributes_count":1,"status":{"code":"Unset"},
			"attributes":{"a":1000,"b":-2500,"c":-9223372036854775808,"d":9223372036854775807,"e":1.5,"f":"-Infinity","g":"NaN","h":100}}`,
		},
		{
			"enums by name and number", "/v1/traces", spansOf(`{"kind":"SPAN_KIND_SERVER","status":{"code":"STATUS_CODE_ERROR"},"links":[]}`), `{"kind":"Server","status":{"code":"Error"}}`,
		},
		{"enums by number", "/v1/traces", spansOf(`{"kind":2.0,"status":{"code":"2"}}`), `{"kind":"Server","status":{"code":"Error"}}`},
		{
			"names of the proto files, and escapes", "/v1/traces", `{"resource_spans":[{"scope_spans":[{"spans":[{"trace_id":"` + strings.ToUpper(jsonTrace) + `","span\u005fid":"` + jsonSpan + `","start_time_unix_nano":1,"end_time_unix_nano":3}]}]}]}`,
			`{"trace_id":"` + jsonTrace + `","span_id":"` + jsonSpan + `","duration":2,"original_timestamp":"1","status":{"code":"Unset"}}`,
		},
		{"unknown names", "/v1/traces", `{"x":[{"y":"\ud800"}],"":1,"resourceSpans":[{"z":1,"scopeSpans":[{"spans":[{"name":"n","future":{"a":[null]}}]}]}]}`, `{"name":"n","status":{"code":"Unset"}}`},
		{
			"bytes in four forms", "/v1/logs", logsOf(`{"attributes":[{"key":"a","value":{"bytesValue":"+/8="}},{"key":"b","value":{"bytesValue":"-_8="}},{"key":"c","value":{"bytesValue":"-_8"}},{"key":"d","value":{"bytesValue":""}}]}`),
			`{"attributes":{"a":"+/8=","b":"+/8=","c":"+/8=","d":""}}`,
		},
		{"empty ids", "/v1/logs", logsOf(`{"traceId":"","spanId":"","severityText":"half \ud83d"}`), `{"severity_text":"half ` + "\ufffd" + `"}`},
		{"a byte order mark", "/v1/logs", "\ufeff" + logsOf(`{"severityText":"x"}`), `{"severity_text":"x"}`},
		{
			"a histogram", "/v1/metrics", metricsOf(`{"name":"h","unit":null,"histogram":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA","dataPoints":[{"count":"18446744073709551615","sum":null,"min":"NaN",
			"bucketCounts":["1",2e0,null],"explicitBounds":[1,"2.5"],"exemplars":[{"asInt":"-7","spanId":"` + jsonSpan + `"}]}]}}`),
			`{"name":"h","metric_type":"histogram","temporality":"delta","original_count":18446744073709551615,"original_min":"NaN","bucket_counts":[1,2],"explicit_bounds":[1,2.5],"exemplars":[{"value":-7,"span_id":"` + jsonSpan + `"}]}`,
		},
		{
			"an exponential histogram", "/v1/metrics", metricsOf(`{"name":"e","exponentialHistogram":{"dataPoints":[{"count":1,"scale":"-3","zeroThreshold":0,"positive":{"offset":-2e0,"bucketCounts":[1,"2"]}}]}}`),
			`{"name":"e","metric_type":"exponential_histogram","count":1,"scale":-3,"zero_count":0,"zero_threshold":0,"positive":{"offset":-2,"bucket_counts":[1,2]}}`,
		},
		{"a sum of zero", "/v1/metrics", metricsOf(`{"sum":{"isMonotonic":true,"dataPoints":[{"asInt":0}]}}`), `{"metric_type":"sum","monotonic":true,"value":0}`},
	} {
		r := c.postText(t, test.path, test.body, "Content-Type", "application/json")
		if r.status != 200 || string(r.body) != "{}" {
			t.Errorf("%s: answered %d %s", test.name, r.status, r.body)
			continue
		}
		got := c.bodies(t)
		if want := object(t, test.want); len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			text, _ := json.Marshal(got)
			t.Errorf("%s: %s came through, want %s", test.name, text, test.want)
		}
	}
}

// A value that a field cannot hold costs the record that it stands in, and what
// records have in common all of these.
func TestBadJSONValueRejectsOnlyItsRecord(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{RecordBytes: 4000})
	good := `{"name":"good"}`
	for _, test := range []struct {
		name, path, body string
		rejected, taken  int
		why              string
	}{
		{"an id in base64", "/v1/traces", spansOf(good, `{"traceId":"Z6z8LqVvEI+kU1/Ci6mXBQ==","attributes":[{"key":"x"}]}`, good), 1, 2, "record 1 cannot be read: traceId is not 32 hexadecimal digits"},
		{"a short id", "/v1/traces", spansOf(good, `{"parentSpanId":"ab"}`), 1, 1, "record 1 cannot be read: parentSpanId is not 16 hexadecimal digits"},
		{"no record", "/v1/traces", spansOf(`5`, good, `[]`), 2, 1, "record 0 cannot be read: a Span is not an object; record 2 cannot be read: a Span is not an object"},
		{"no list", "/v1/traces", spansOf(`{"events":{}}`, good), 1, 1, "record 0 cannot be read: events is not a list"},
		{"a number for a string", "/v1/traces", spansOf(`{"name":5}`, good), 1, 1, "record 0 cannot be read: name is not a string"},
		{"a fraction", "/v1/traces", spansOf(`{"flags":1.5}`, good), 1, 1, "record 0 cannot be read: flags is not a whole number"},
		{"too large a number", "/v1/traces", spansOf(`{"flags":4294967296}`, `{"startTimeUnixNano":-1}`, `{"attributes":[{"value":{"intValue":9223372036854775808}}]}`, `{"endTimeUnixNano":1e20}`, good), 4, 1,
			"record 0 cannot be read: flags is beyond its type; record 1 cannot be read: startTimeUnixNano is beyond its type; record 2 cannot be read: intValue is beyond its type; record 3 cannot be read: endTimeUnixNano is beyond its type"},
		{"an unknown kind", "/v1/traces", spansOf(`{"kind":"SERVER"}`, good), 1, 1, "record 0 cannot be read: kind is not one of its names"},
		{"no bool", "/v1/logs", logsOf(`{"body":{"boolValue":"true"}}`, `{}`), 1, 1, "record 0 cannot be read: boolValue is neither true nor false"},
		{"no base64", "/v1/logs", logsOf(`{"body":{"bytesValue":"*"}}`, `{}`), 1, 1, "record 0 cannot be read: bytesValue is not base64"},
		{"a number beyond a double", "/v1/logs", logsOf(`{"body":{"doubleValue":1e400}}`, `{}`), 1, 1, "record 0 cannot be read: doubleValue is beyond the numbers of 64 bits"},
		{"too large a record", "/v1/metrics", metricsOf(`{"histogram":{"dataPoints":[{"exemplars":[` + strings.Repeat(`{"asInt":"1"},`, 1000) + `{}]},{}]}}`), 1, 1, "record 0 cannot be read: it is encoded in more than 4000 bytes"},
		{"a bad point", "/v1/metrics", metricsOf(`{"name":"m","gauge":{"dataPoints":[{"asInt":1},{"asInt":"x"},{"asInt":2}]}}`), 1, 2, "record 1 cannot be read: asInt is not a number"},
		{"a bad metric", "/v1/metrics", metricsOf(`{"gauge":{"dataPoints":[{},{}]},"name":5}`, `{"name":"b","gauge":{"dataPoints":[{}]}}`), 2, 1,
			"record 0 is of a metric that cannot be read: name is not a string; record 1 is of a metric that cannot be read: name is not a string"},
		{"a bad resource", "/v1/logs", `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{}]}],"resource":{"attributes":[{"key":1}]}},{"scopeLogs":[{"logRecords":[{}]}]}]}`, 1, 1,
			"record 0 has a resource that cannot be read: key is not a string"},
		{"a bad schema", "/v1/logs", `{"resourceLogs":[{"resource":{"attributes":[{"key":"a"}]},"scopeLogs":[{"scope":{"name":"s"},"schemaUrl":7,"logRecords":[{}]},{"logRecords":[{}]}]}]}`, 1, 1,
			"record 0 has a scope that cannot be read: schemaUrl is not a string"},
	} {
		r := c.postText(t, test.path, test.body, "Content-Type", "application/json")
		var answer struct{ PartialSuccess map[string]string }
		if err := json.Unmarshal(r.body, &answer); err != nil || r.status != 200 {
			t.Errorf("%s: answered %d %s", test.name, r.status, r.body)
			continue
		}
		rejected := ""
		for name, value := range answer.PartialSuccess {
			if strings.HasPrefix(name, "rejected") {
				rejected = value
			}
		}
		if why := answer.PartialSuccess["errorMessage"]; rejected != fmt.Sprint(test.rejected) || why != test.why {
			t.Errorf("%s: answered %s, want %q", test.name, r.body, test.why)
		}
		if got := c.stream.take(t); len(got) != test.taken {
			t.Errorf("%s: %d records came through, want %d", test.name, len(got), test.taken)
		}
	}
}

// What leads to the records cannot be wrong alone: how many they are is unknown.
func TestBadJSONAroundRecordsRejectsRequest(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for body, why := range map[string]string{
		`5`:                                      "a TracesData is not an object",
		`{"resourceSpans":5}`:                    "resourceSpans is not a list",
		`{"resourceSpans":[5]}`:                  "a ResourceSpans is not an object",
		`{"resourceSpans":[{"scopeSpans":"x"}]}`: "scopeSpans is not a list",
		`{"resourceSpans":[{"scopeSpans":[[]]}]}`: "a ScopeSpans is not an object",
		spansOf(`{"name":5},{"name":}`):           "not JSON: at byte 62: expected a value",
		spansOf(`{}`) + `x`:                       "not JSON: at byte 51: expected the end",
	} {
		r := c.postText(t, "/v1/traces", body, "Content-Type", "application/json")
		if _, message := statusOf(t, r, "application/json"); r.status != 400 || message != "not a request for /v1/traces: "+why {
			t.Errorf("%s: answered %d %s", body, r.status, r.body)
		}
	}
}

func TestDeprecatedOTLPFieldsAreReported(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	const said = "the request uses what OpenTelemetry has dropped: "
	for _, test := range []struct {
		path, body, want string
		taken            int
	}{
		{"/v1/traces", `{"resourceSpans":[{"instrumentationLibrarySpans":[{"instrumentationLibrary":{"name":"old"},"spans":[{"name":"n"}]}]}]}`,
			"instrumentationLibrarySpans (taken as scopeSpans), instrumentationLibrary (taken as scope)", 1},
		{"/v1/logs", `{"resourceLogs":[{"instrumentation_library_logs":[{"logs":[{"name":"n"},{"name":"n"}]}]}]}`,
			"instrumentation_library_logs (taken as scopeLogs), logs (taken as logRecords), name (ignored)", 2},
		{"/v1/metrics", metricsOf(`{"name":"m","intGauge":{"dataPoints":[{}]}}`), "intGauge (ignored)", 0},
		{"/v1/metrics", metricsOf(`{"name":"m","gauge":{"dataPoints":[{"labels":[{"key":"a","value":"b"}]}]}}`), "labels (ignored)", 1},
	} {
		r := c.postText(t, test.path, test.body, "Content-Type", "application/json")
		var answer struct{ PartialSuccess map[string]string }
		if err := json.Unmarshal(r.body, &answer); err != nil || r.status != 200 || len(answer.PartialSuccess) != 1 || answer.PartialSuccess["errorMessage"] != said+test.want {
			t.Errorf("%s: answered %d %s, want %s", test.body, r.status, r.body, test.want)
		}
		got := c.stream.take(t)
		if len(got) != test.taken {
			t.Errorf("%s: %d records came through", test.body, len(got))
		}
		if test.path == "/v1/traces" && fmt.Sprint(got[0]["scope"]) != "map[name:old]" {
			t.Errorf("%s: %v came through", test.body, got)
		}
	}
	for want, request := range map[string][]byte{
		"field 1000 (taken as scopes)":               inField(1, inField(1000, inField(2))),
		"intGauge, intSum or intHistogram (ignored)": exported(inField(2, inField(4, inField(1)))),
	} {
		if status, rejected, why := c.exportOf(t, "/v1/metrics", request); status != 200 || rejected != 0 || why != said+want {
			t.Errorf("%s: answered %d, %d rejected, %q", want, status, rejected, why)
		}
	}
}

// Deep nesting must not move what is nested again and again.
func TestTranscodingDeepNestingIsLinear(t *testing.T) {
	t.Parallel()
	value := strings.Repeat(`{"arrayValue":{"values":[`, 1000) + `{"stringValue":"` + strings.Repeat("x", 5<<20) + `"}` + strings.Repeat(`]}}`, 1000)
	encoded, _, err := transcode(nil, []byte(logsOf(`{"body":`+value+`}`)), logRequest, 10<<20)
	if err != nil || len(encoded) < 5<<20 || !bytes.Contains(encoded, []byte("xxx")) {
		t.Errorf("%d bytes, %v", len(encoded), err)
	}
}
