package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"

	"millrace/internal/telemetry"
)

const testTenant, testRegion = "acme", "eu-west-1"

// testNow is when collectors receive what tests post: soon after most records
// there.
var testNow = time.Date(2026, 11, 27, 12, 0, 0, 5_000_000, time.UTC)

const oneRecord = `[{"id":"a","type":"span","timestamp":"2026-11-23T10:00:00Z"}]`

// As the agent for Python 3.0.10 sends it, shortened.
const thundraPost = `[
 {"apiKey":"secret","type":"Invocation","dataModelVersion":"2.0","data":{"id":"i-1","type":"Invocation","agentVersion":"3.0.10","dataModelVersion":"2.0","traceId":"t-1","startTimestamp":1795428000123,"finishTimestamp":1795428000200,"duration":77,"erroneous":false,"applicationTags":{},"userTags":{"a":1}}},
 {"apiKey":"secret","type":"Span","dataModelVersion":"2.0","data":{"id":"s-1","type":"Span","startTimestamp":1795428000124,"logs":[],"tags":{"x":"y"}}},
 {"apiKey":"secret","type":"Log","dataModelVersion":"2.0","data":{"id":"l-1","logMessage":"hello","logTimestamp":1795428000125}},
 {"apiKey":"secret","type":"Metric","dataModelVersion":"2.0","data":{"id":"m-1","type":"Metric","metricTimestamp":5,"metrics":{"app.cpuLoad":0.5}}}
]`

// ownIndex is the index that is part of a record's identity.
func ownIndex(r telemetry.Record) string {
	if earlier := string(r.Earlier); earlier != "" && !strings.HasSuffix(earlier, telemetry.Undated) {
		return earlier
	}
	return string(r.Index)
}

// decodeStrictly decodes an object, with its numbers as they are written, and
// fails where a name is there twice, as Elasticsearch would.
func decodeStrictly(t *testing.T, data []byte) map[string]any {
	t.Helper()
	s := &scanner{data: data}
	if !s.accept('{') {
		t.Fatalf("not an object: %s", data)
	}
	names := map[string]bool{}
	for first := true; ; first = false {
		m, err := readMember(s, first)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		if names[string(m.plain)] {
			t.Errorf("%s is there twice: %s", m.plain, data)
		}
		names[string(m.plain)] = true
	}
	var document map[string]any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&document); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return document
}

func compressed(t testing.TB, encoding string, body []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if encoding == "zstd" {
		var err error
		if w, err = zstd.NewWriter(&out); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// at is 2026-11-23T10:00:00.123456789Z.
const at pcommon.Timestamp = 1795428000123456789

func fill(m pcommon.Map) {
	m.PutStr("http.request.method", "GET")
	m.PutInt("count", math.MinInt64)
	m.PutDouble("share", 0.1)
	m.PutDouble("nan", math.NaN())
	m.PutBool("yes", true)
	m.PutEmptyBytes("bytes").FromRaw([]byte{0, 255})
	m.PutEmpty("nothing")
	m.PutStr("text", "a\"b\\c\n\x01é\xff")
	list := m.PutEmptySlice("list")
	list.AppendEmpty().SetInt(1)
	list.AppendEmpty().SetEmptyMap().PutStr("in", "side")
	list.AppendEmpty().SetEmptySlice()
}

const filled = `{"http.request.method":"GET","count":-9223372036854775808,"share":0.1,"nan":"NaN","yes":true,"bytes":"AP8=",` +
	`"nothing":null,"text":"a\"b\\c\n\u0001é�","list":[1,{"in":"side"},[]]}`

const common = `"resource":{"attributes":{"service.name":"orders"},"dropped_attributes_count":1,"schema_url":"https://r"},` +
	`"scope":{"name":"lib","version":"1","attributes":{"a":"b"},"dropped_attributes_count":2,"schema_url":"https://s"}`

type scoped interface {
	Scope() pcommon.InstrumentationScope
	SetSchemaUrl(string)
}

func describe(resource pcommon.Resource, scope scoped) {
	resource.Attributes().PutStr("service.name", "orders")
	resource.SetDroppedAttributesCount(1)
	scope.Scope().SetName("lib")
	scope.Scope().SetVersion("1")
	scope.Scope().Attributes().PutStr("a", "b")
	scope.Scope().SetDroppedAttributesCount(2)
	scope.SetSchemaUrl("https://s")
}

// sample is a request and what must become of it.
type sample struct {
	signal signal
	// export sends it as an agent's library does.
	export    func(context.Context, *grpc.ClientConn, ...grpc.CallOption) error
	asJSON    []byte
	asProto   []byte
	documents []wanted
}

type wanted struct{ id, recordType, index, at, body string }

func both(t testing.TB, request interface {
	MarshalJSON() ([]byte, error)
	MarshalProto() ([]byte, error)
}) (asJSON, asProto []byte) {
	t.Helper()
	asJSON, err := request.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if asProto, err = request.MarshalProto(); err != nil {
		t.Fatal(err)
	}
	return asJSON, asProto
}

var (
	traceID  = pcommon.TraceID{0x0a, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	spanID1  = pcommon.SpanID{0xab, 1, 2, 3, 4, 5, 6, 7}
	parentID = pcommon.SpanID{7: 1}
)

func traceSample(t testing.TB) sample {
	t.Helper()
	traces := ptrace.NewTraces()
	resource := traces.ResourceSpans().AppendEmpty()
	resource.SetSchemaUrl("https://r")
	scope := resource.ScopeSpans().AppendEmpty()
	describe(resource.Resource(), scope)

	full := scope.Spans().AppendEmpty()
	full.SetTraceID(traceID)
	full.SetSpanID(spanID1)
	full.SetParentSpanID(parentID)
	full.TraceState().FromRaw("a=b")
	full.SetFlags(257)
	full.SetName("GET /orders")
	full.SetKind(ptrace.SpanKindServer)
	full.SetStartTimestamp(at)
	full.SetEndTimestamp(at + 1500)
	full.Status().SetCode(ptrace.StatusCodeError)
	full.Status().SetMessage("broken")
	fill(full.Attributes())
	full.SetDroppedAttributesCount(3)
	event := full.Events().AppendEmpty()
	event.SetName("retry")
	event.SetTimestamp(at + 1)
	event.Attributes().PutInt("n", 1)
	event.SetDroppedAttributesCount(4)
	full.SetDroppedEventsCount(5)
	link := full.Links().AppendEmpty()
	link.SetTraceID(traceID)
	link.SetSpanID(parentID)
	link.TraceState().FromRaw("c=d")
	link.SetFlags(1)
	link.Attributes().PutInt("n", 2)
	link.SetDroppedAttributesCount(6)
	full.SetDroppedLinksCount(7)

	scope.Spans().AppendEmpty().SetName("bare")

	late := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	late.SetTraceID(traceID)
	late.SetSpanID(parentID)
	late.SetStartTimestamp(math.MaxUint64)
	late.SetEndTimestamp(1)

	s := sample{signal: traceSignal, documents: []wanted{
		{
			"0a0102030405060708090a0b0c0d0e0f-ab01020304050607-9d765e86b8228233", "span", "telemetry-span-2026.11.23", "2026-11-23T10:00:00.123456789Z",
			`{"trace_id":"0a0102030405060708090a0b0c0d0e0f","span_id":"ab01020304050607","parent_span_id":"0000000000000001","trace_state":"a=b","flags":257,
			"name":"GET /orders","kind":"Server","duration":1500,"status":{"code":"Error","message":"broken"},"attributes":` + filled + `,"dropped_attributes_count":3,
			"events":[{"name":"retry","timestamp":"2026-11-23T10:00:00.12345679Z","attributes":{"n":1},"dropped_attributes_count":4}],"dropped_events_count":5,
			"links":[{"trace_id":"0a0102030405060708090a0b0c0d0e0f","span_id":"0000000000000001","trace_state":"c=d","flags":1,"attributes":{"n":2},"dropped_attributes_count":6}],
			"dropped_links_count":7,` + common + `}`,
		},
		{"", "span", "telemetry-span-undated", "", `{"name":"bare","status":{"code":"Unset"},` + common + `}`},
		{
			"0a0102030405060708090a0b0c0d0e0f-0000000000000001-d7eb6676e894e283", "span", "telemetry-span-undated", "",
			`{"trace_id":"0a0102030405060708090a0b0c0d0e0f","span_id":"0000000000000001","status":{"code":"Unset"},"original_timestamp":"18446744073709551615"}`,
		},
	}}
	request := ptraceotlp.NewExportRequestFromTraces(traces)
	s.asJSON, s.asProto = both(t, request)
	s.export = func(ctx context.Context, connection *grpc.ClientConn, options ...grpc.CallOption) error {
		response, err := ptraceotlp.NewGRPCClient(connection).Export(ctx, request, options...)
		return partial(err, func() (int64, string) {
			return response.PartialSuccess().RejectedSpans(), response.PartialSuccess().ErrorMessage()
		})
	}
	return s
}

// errPartial is what partial makes of a partial success.
type errPartial struct {
	rejected int64
	why      string
}

func (e errPartial) Error() string { return fmt.Sprintf("%d rejected: %s", e.rejected, e.why) }

func partial(err error, response func() (int64, string)) error {
	if err != nil {
		return err
	}
	if rejected, why := response(); rejected != 0 || why != "" {
		return errPartial{rejected, why}
	}
	return nil
}

func logSample(t testing.TB) sample {
	t.Helper()
	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.SetSchemaUrl("https://r")
	scope := resource.ScopeLogs().AppendEmpty()
	describe(resource.Resource(), scope)

	full := scope.LogRecords().AppendEmpty()
	full.SetTimestamp(at)
	full.SetObservedTimestamp(at + 1)
	full.SetTraceID(traceID)
	full.SetSpanID(spanID1)
	full.SetFlags(1)
	full.SetSeverityText("WARN")
	full.SetSeverityNumber(plog.SeverityNumberWarn)
	full.SetEventName("restart")
	full.Body().SetStr("hello")
	fill(full.Attributes())
	full.SetDroppedAttributesCount(3)

	for _, set := range []func(pcommon.Value){
		func(pcommon.Value) {},
		func(v pcommon.Value) { v.SetInt(7) },
		func(v pcommon.Value) { v.SetBool(true) },
		func(v pcommon.Value) { v.SetEmptyMap().PutStr("a", "b") },
		func(v pcommon.Value) { v.SetEmptySlice().AppendEmpty().SetInt(1) },
	} {
		record := scope.LogRecords().AppendEmpty()
		record.SetObservedTimestamp(at)
		set(record.Body())
	}
	absurd := scope.LogRecords().AppendEmpty()
	absurd.SetTimestamp(1)
	absurd.SetObservedTimestamp(math.MaxUint64)

	const observed = `"observed_timestamp":"2026-11-23T10:00:00.123456789Z",`
	log := func(body string) wanted {
		return wanted{"", "log", "telemetry-log-2026.11.23", "2026-11-23T10:00:00.123456789Z", "{" + body + common + "}"}
	}
	s := sample{signal: logSignal, documents: []wanted{
		log(`"observed_timestamp":"2026-11-23T10:00:00.12345679Z","trace_id":"0a0102030405060708090a0b0c0d0e0f","span_id":"ab01020304050607","trace_flags":1,
			"severity_text":"WARN","severity_number":13,"event_name":"restart","body":{"text":"hello"},"attributes":` + filled + `,"dropped_attributes_count":3,`),
		log(observed),
		log(observed + `"body":{"text":"7"},`),
		log(observed + `"body":{"text":"true"},`),
		log(observed + `"body":{"structured":{"a":"b"}},`),
		log(observed + `"body":{"structured":{"value":[1]}},`),
		{"", "log", "telemetry-log-undated", "", `{"original_timestamp":"1","original_observed_timestamp":"18446744073709551615",` + common + `}`},
	}}
	request := plogotlp.NewExportRequestFromLogs(logs)
	s.asJSON, s.asProto = both(t, request)
	s.export = func(ctx context.Context, connection *grpc.ClientConn, options ...grpc.CallOption) error {
		response, err := plogotlp.NewGRPCClient(connection).Export(ctx, request, options...)
		return partial(err, func() (int64, string) {
			return response.PartialSuccess().RejectedLogRecords(), response.PartialSuccess().ErrorMessage()
		})
	}
	return s
}

func metricSample(t testing.TB) sample {
	t.Helper()
	metrics := pmetric.NewMetrics()
	resource := metrics.ResourceMetrics().AppendEmpty()
	resource.SetSchemaUrl("https://r")
	scope := resource.ScopeMetrics().AppendEmpty()
	describe(resource.Resource(), scope)
	next := func(name string) pmetric.Metric {
		m := scope.Metrics().AppendEmpty()
		m.SetName(name)
		m.SetUnit("ms")
		m.SetDescription("how long")
		return m
	}

	gauge := next("g")
	gauge.Metadata().PutStr("from", "there")
	points := gauge.SetEmptyGauge().DataPoints()
	n := points.AppendEmpty()
	n.SetTimestamp(at)
	n.SetStartTimestamp(at - 1)
	n.SetDoubleValue(1.5)
	n.SetFlags(1)
	fill(n.Attributes())
	e := n.Exemplars().AppendEmpty()
	e.SetTimestamp(at)
	e.SetIntValue(3)
	e.SetTraceID(traceID)
	e.SetSpanID(spanID1)
	e.FilteredAttributes().PutStr("a", "b")
	n = points.AppendEmpty()
	n.SetTimestamp(at)
	n.SetDoubleValue(math.NaN())

	sum := next("s").SetEmptySum()
	sum.SetIsMonotonic(true)
	sum.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	n = sum.DataPoints().AppendEmpty()
	n.SetTimestamp(at)
	n.SetIntValue(math.MaxInt64)

	histogram := next("h").SetEmptyHistogram()
	histogram.SetAggregationTemporality(pmetric.AggregationTemporalityCumulative)
	h := histogram.DataPoints().AppendEmpty()
	h.SetTimestamp(at)
	h.SetCount(3)
	h.SetSum(4.5)
	h.SetMin(1)
	h.SetMax(2)
	h.BucketCounts().FromRaw([]uint64{1, 2})
	h.ExplicitBounds().FromRaw([]float64{1.5})
	histogram.DataPoints().AppendEmpty().SetTimestamp(at)

	exponential := next("e").SetEmptyExponentialHistogram()
	exponential.SetAggregationTemporality(pmetric.AggregationTemporalityDelta)
	x := exponential.DataPoints().AppendEmpty()
	x.SetTimestamp(at)
	x.SetCount(3)
	x.SetSum(4.5)
	x.SetMin(1)
	x.SetMax(2)
	x.SetScale(-1)
	x.SetZeroCount(1)
	x.SetZeroThreshold(0.5)
	x.Positive().SetOffset(2)
	x.Positive().BucketCounts().FromRaw([]uint64{1})
	x.Negative().SetOffset(-2)
	x.Negative().BucketCounts().FromRaw([]uint64{2, 3})

	q := next("q").SetEmptySummary().DataPoints().AppendEmpty()
	q.SetTimestamp(at)
	q.SetCount(3)
	q.SetSum(4.5)
	quantile := q.QuantileValues().AppendEmpty()
	quantile.SetQuantile(0.5)
	quantile.SetValue(1.25)

	next("nothing")

	metric := func(id, body string) wanted {
		return wanted{id, "metric", "telemetry-metric-2026.11.23", "2026-11-23T10:00:00.123456789Z", `{"unit":"ms","description":"how long",` + body + "," + common + "}"}
	}
	s := sample{signal: metricSignal, documents: []wanted{
		metric("d591ae8228b73701b2c304e97579c3c0", `"name":"g","metric_type":"gauge","metadata":{"from":"there"},"value":1.5,"start_timestamp":"2026-11-23T10:00:00.123456788Z","flags":1,"attributes":`+filled+`,
			"exemplars":[{"timestamp":"2026-11-23T10:00:00.123456789Z","value":3,"trace_id":"0a0102030405060708090a0b0c0d0e0f","span_id":"ab01020304050607","attributes":{"a":"b"}}]`),
		metric("06138c3b9d0f55f471802249bbf53f75", `"name":"g","metric_type":"gauge","metadata":{"from":"there"},"original_value":"NaN"`),
		metric("cb7b0d37ca9f018a97084b34d6fcb921", `"name":"s","metric_type":"sum","temporality":"delta","monotonic":true,"value":9223372036854775807`),
		metric("a08dda90d4e67d1f01121690fbd0a9ee", `"name":"h","metric_type":"histogram","temporality":"cumulative","count":3,"sum":4.5,"min":1,"max":2,"bucket_counts":[1,2],"explicit_bounds":[1.5]`),
		metric("167064f841f073b85ef9ed7605c86341", `"name":"h","metric_type":"histogram","temporality":"cumulative","count":0`),
		metric("4301f3663096a8466bc7f58e1c7c370a", `"name":"e","metric_type":"exponential_histogram","temporality":"delta","count":3,"sum":4.5,"min":1,"max":2,"scale":-1,"zero_count":1,"zero_threshold":0.5,
			"positive":{"offset":2,"bucket_counts":[1]},"negative":{"offset":-2,"bucket_counts":[2,3]}`),
		metric("eba78767cfa196e80ff3d186114efdc4", `"name":"q","metric_type":"summary","count":3,"sum":4.5,"quantiles":[{"quantile":0.5,"value":1.25}]`),
	}}
	request := pmetricotlp.NewExportRequestFromMetrics(metrics)
	s.asJSON, s.asProto = both(t, request)
	s.export = func(ctx context.Context, connection *grpc.ClientConn, options ...grpc.CallOption) error {
		response, err := pmetricotlp.NewGRPCClient(connection).Export(ctx, request, options...)
		return partial(err, func() (int64, string) {
			return response.PartialSuccess().RejectedDataPoints(), response.PartialSuccess().ErrorMessage()
		})
	}
	return s
}

func samples(t testing.TB) []sample {
	t.Helper()
	return []sample{traceSample(t), logSample(t), metricSample(t)}
}
