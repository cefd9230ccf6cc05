package e2e

import "google.golang.org/protobuf/encoding/protowire"

// spanTimes are half a second apart.
const spanTimes = `"startTimeUnixNano":"NANOS","endTimeUnixNano":"SECONDS500000000"`

func agentCases() []agentCase {
	const dated = `"timestamp":"DAYT10:00:00Z"`
	return []agentCase{
		{
			"a clock in the future makes no index", []casePost{lines(`{"id":"clock-far","type":"log","timestamp":"2034-12-30T00:00:00Z"}`)},
			[]caseFound{{path: byID, value: "clock-far", count: 1, index: "telemetry-log-undated", has: map[string]string{"original_timestamp": "2034-12-30T00:00:00Z"}}},
		},
		{
			"an old record is kept by its year", []casePost{lines(`{"id":"old","type":"log","timestamp":"2020-02-03T10:00:00Z"}`)},
			[]caseFound{{path: byID, value: "old", count: 1, index: "telemetry-log-2020", has: map[string]string{"@timestamp": "2020-02-03T10:00:00Z"}}},
		},
		{
			"null for what is not set", []casePost{
				spansOf("null", span(601, `"name":"n",`+spanTimes+`,"parentSpanId":null`),
					span(602, `"name":"n","startTimeUnixNano":"NANOS","endTimeUnixNano":null,"kind":null,"flags":null,"droppedAttributesCount":null,"events":null,"status":null,"traceState":null`)),
				logsOf("null", `{"timeUnixNano":"NANOS","observedTimeUnixNano":null,"severityNumber":null,"severityText":null,"flags":null,"traceId":null,"spanId":null,"body":{"stringValue":"null"}}`),
				metricsOf("null", `{"name":"null","unit":null,"histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"NANOS","startTimeUnixNano":null,"count":"1","sum":null,"min":null,"bucketCounts":["1"],"attributes":[{"key":"n","value":{"intValue":null}}]}]}}`),
			},
			[]caseFound{{path: byServer, value: "null", count: 4}},
		},
		{
			"whole numbers with an exponent, in quotes or not", []casePost{
				spansOf("exponent", span(701, `"name":"n","startTimeUnixNano":SECONDSe9,"endTimeUnixNano":"SECONDS.5e9","attributes":[{"key":"plain","value":{"intValue":1e3}},{"key":"quoted","value":{"intValue":"2.5e3"}},{"key":"zeros","value":{"intValue":7.00}}]`)),
			},
			[]caseFound{{path: byServer, value: "exponent", count: 1, has: map[string]string{
				"@timestamp": "DAYT10:00:00Z", "duration": "500000000", "attributes/plain": "1000", "attributes/quoted": "2500", "attributes/zeros": "7",
			}}},
		},
		{
			"enums by name, bytes in base64url and without padding", []casePost{
				spansOf("words", span(751, `"name":"n","kind":"SPAN_KIND_SERVER","status":{"code":"STATUS_CODE_ERROR"},`+spanTimes+`,"attributes":[{"key":"bytes","value":{"bytesValue":"-_8"}}]`)),
			},
			[]caseFound{{path: byServer, value: "words", count: 1, has: map[string]string{"kind": "Server", "status/code": "Error", "attributes/bytes": "+/8="}}},
		},
		{
			"one bad id costs one span", []casePost{
				{
					path: "/v1/traces", mediaType: asJSON, says: `"rejectedSpans":"1"`,
					body: spansOf("bad-id", span(901, `"name":"n",`+spanTimes), `{"traceId":"Z6z8LqVvEI+kU1/Ci6mXBQ==","spanId":"0000000000000902","name":"n"}`, span(903, `"name":"n",`+spanTimes)).body,
				},
				{path: "/v1/traces", mediaType: asProto, body: string(spansInProto("bad-id-in-protobuf", 16, 8, 16))},
			},
			[]caseFound{{path: byServer, value: "bad-id", count: 2}, {path: "name", value: "bad-id-in-protobuf", count: 2}},
		},
		{
			"client and server share a span id", []casePost{
				spansOf("shared", span(1001, `"name":"GET","kind":3,`+spanTimes)), spansOf("shared", span(1001, `"name":"GET /orders","kind":2,`+spanTimes)),
			},
			[]caseFound{{path: byServer, value: "shared", count: 2}},
		},
		{
			"a span is sent open, and again when it has ended", []casePost{
				spansOf("open", span(1101, `"name":"backup","startTimeUnixNano":"NANOS"`)), spansOf("open", span(1101, `"name":"backup","status":{"code":1},`+spanTimes)),
			},
			[]caseFound{{path: byServer, value: "open", count: 2}},
		},
		{
			"a span without one of its times has no duration", []casePost{
				spansOf("times", span(1201, `"name":"no start","startTimeUnixNano":"0","endTimeUnixNano":"NANOS"`), span(1202, `"name":"no end","startTimeUnixNano":"NANOS"`)),
				spansOf("backwards", span(1203, `"name":"n","startTimeUnixNano":"SECONDS500000000","endTimeUnixNano":"NANOS"`)),
			},
			[]caseFound{{path: byServer, value: "times", count: 2, lacks: []string{"duration"}}, {path: byServer, value: "backwards", count: 1, has: map[string]string{"duration": "-500000000"}}},
		},
		{
			"keys that are not UTF-8 become equal", []casePost{{path: "/v1/logs", mediaType: asProto, body: string(logInProto("latin", "caf\xe9", "caf\xe8"))}},
			[]caseFound{{path: "body/text", value: "latin", count: 1, has: map[string]string{"attributes/caf\uFFFD": "caf\uFFFD", "attributes/caf\uFFFD#2": "caf\uFFFD"}}},
		},
		{
			"names that OTLP has dropped", []casePost{{
				path: "/v1/traces", mediaType: asJSON, says: "instrumentationLibrarySpans",
				body: `{"resourceSpans":[{"instrumentationLibrarySpans":[{"instrumentationLibrary":{"name":"dropped"},"spans":[` + span(1501, `"name":"n",`+spanTimes) + `]}]}]}`,
			}},
			[]caseFound{{path: "scope/name", value: "dropped", count: 1}},
		},
		{
			"no bytes are an empty request, also compressed", []casePost{
				{path: "/v1/traces", mediaType: asProto, headers: []string{"Content-Encoding", "gzip"}},
				{path: "/v1/traces", mediaType: asProto, headers: []string{"Content-Encoding", "zstd"}},
				{path: "/v1/traces", mediaType: asProto, headers: []string{"Content-Encoding", "identity"}},
				{path: "/v1/traces", mediaType: asProto, headers: []string{"Content-Encoding", "gzip"}, gzip: true},
			}, nil,
		},
		{
			"old names of encodings, parameters, and slashes", []casePost{
				{path: "/v1/telemetry", mediaType: asJSON, body: `[{"id":"x-gzip","type":"log",` + dated + `}]`, gzip: true, headers: []string{"Content-Encoding", "x-gzip"}},
				{path: "//v1//telemetry", mediaType: "Application/JSON; charset=UTF-8; x", body: "\uFEFF" + `[{"id":"slashes","type":"log",` + dated + `}]`},
			},
			[]caseFound{{path: byID, value: "x-gzip", count: 1}, {path: byID, value: "slashes", count: 1}},
		},
		{
			"times with escapes and in lower case", []casePost{lines(
				`{"id":"time-1","type":"log","timestamp":"DAYT12:00:00\u002B02:00"}`, `{"id":"time-2","type":"log","timestamp":"DAYt10:00:00z"}`, `{"id":"time-3","type":"log","timestamp":"DAYT11:00:00+0100"}`,
			)},
			[]caseFound{{path: byID, value: "time-*", count: 3, index: "telemetry-log-DATE", has: map[string]string{"@timestamp": "DAYT10:00:00Z"}, lacks: []string{"original_timestamp"}}},
		},
		{
			"the same event twice is two", []casePost{lines(`{"type":"event","name":"door opened"}`), lines(`{"type":"event","name":"door opened"}`)},
			[]caseFound{{path: "name", value: "door opened", count: 2}},
		},
		{
			"the same event again with its key is one", []casePost{
				{path: "/v1/telemetry", mediaType: asLines, body: `{"type":"event","name":"bell"}`, headers: []string{"Idempotency-Key", "k"}},
				{path: "/v1/telemetry", mediaType: asLines, body: `{"type":"event","name":"bell"}`, headers: []string{"Idempotency-Key", "k"}},
			},
			[]caseFound{{path: "name", value: "bell", count: 1}},
		},
		{
			"names with dots", []casePost{lines(
				`{"id":"dots-1","type":"log",`+dated+`,".hidden":1}`, `{"id":"dots-2","type":"log",`+dated+`,"trailing.":1}`, `{"id":"dots-3","type":"log",`+dated+`,"a..b":1}`,
				`{"id":"dots-4","type":"log",`+dated+`,"../../etc/profile":1}`, `{"id":"dots-5","type":"log",`+dated+`," ":1}`, `{"id":"inner-1","type":"log",`+dated+`,"parameters":{"../../etc/profile":[""],"a..":{".b":1}}}`,
				`{"id":"inner-2","type":"log",`+dated+`,"attributes":{"../../etc/profile":"x","a.":1,".":2}}`,
			)},
			[]caseFound{{path: byID, value: "dots-*", count: 5}, {path: byID, value: "inner-*", count: 2, lacks: []string{"original_members"}}},
		},
		{
			"a dot behind a field that is no object", []casePost{lines(
				`{"id":"dotted","type":"event",`+dated+`,"duration.ms":12}`, `{"id":"child-2","type":"event",`+dated+`,"name.first":"x"}`, `{"id":"child-3","type":"event",`+dated+`,"tenant.plan":"gold"}`,
				`{"id":"child-4","type":"event",`+dated+`,"value.raw":"1"}`, `{"id":"right","type":"event",`+dated+`,"status.code":"Ok"}`,
			)},
			[]caseFound{{path: byID, value: "child-*", count: 3}, {path: byID, value: "dotted", has: map[string]string{"original_members/duration.ms": "12"}, count: 1}, {path: byID, value: "right", count: 1, lacks: []string{"original_members"}}},
		},
		{
			"names of Elasticsearch's own", []casePost{lines(`{"id":"own","type":"log",` + dated + `,"_id":"x","_source":{"a":1},"_doc_count":7}`)},
			[]caseFound{{path: byID, value: "own", count: 1, has: map[string]string{"original_members/_id": "x", "original_members/_doc_count": "7"}, lacks: []string{"_doc_count"}}},
		},
		{
			"numbers beyond their field, and words for them", []casePost{
				lines(`{"id":"beyond","type":"metric",`+dated+`,"value":NaN,"count":18446744073709551615}`, `{"id":"half","type":"log",`+dated+`,"name":"\ud800"}`),
				metricsOf("unsigned", `{"name":"unsigned","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":"NANOS","count":"18446744073709551615","sum":1}]}}`),
			},
			[]caseFound{
				{path: byID, value: "beyond", count: 1, has: map[string]string{"original_value": "NaN"}, lacks: []string{"value", "count"}},
				{path: byID, value: "half", count: 1, has: map[string]string{"name": "\uFFFD"}},
				{path: byServer, value: "unsigned", count: 1, lacks: []string{"count"}},
			},
		},
		{
			"times of agents as exponents", []casePost{{path: "/v1/monitoring-data", mediaType: asJSON, body: `[` +
				`{"apiKey":"x","type":"Invocation","data":{"id":"invocation-1","startTimestamp":SECONDSE3,"finishTimestamp":SECONDS.5E3}},` +
				`{"apiKey":"x","type":"Invocation","data":{"id":"invocation-2","startTimestamp":MILLIS}}]`}},
			[]caseFound{{path: byID, value: "invocation-*", count: 2, index: "telemetry-invocation-DATE"}},
		},
		{
			"an id that says two things keeps the first", []casePost{
				{path: "/v1/telemetry", mediaType: asLines, says: "says something else", body: `{"id":"twice","type":"log",` + dated + `,"name":"first"}` + "\n" + `{"id":"twice","type":"log",` + dated + `,"name":"second"}`},
			},
			[]caseFound{{path: byID, value: "twice", count: 1, has: map[string]string{"name": "first"}}},
		},
	}
}

func inField(number protowire.Number, message ...[]byte) []byte {
	var all []byte
	for _, part := range message {
		all = append(all, part...)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), all)
}

func inText(number protowire.Number, text string) []byte { return inField(number, []byte(text)) }

// spansInProto is a request with spans of that name, whose trace ids have so many
// bytes.
func spansInProto(name string, traceIDs ...int) []byte {
	var spans []byte
	for n, size := range traceIDs {
		trace, id := make([]byte, size), make([]byte, 8)
		trace[0], id[0] = 9, byte(n+1)
		spans = append(spans, inField(2, inField(1, trace), inField(2, id), inText(5, name))...)
	}
	return inField(1, inField(2, spans))
}

// logInProto is a request with one log record, whose attributes have their keys
// as values.
func logInProto(body string, keys ...string) []byte {
	record := inField(5, inText(1, body))
	for _, key := range keys {
		record = append(record, inField(6, inText(1, key), inField(2, inText(1, key)))...)
	}
	return inField(1, inField(2, inField(2, record)))
}
