package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"millrace/internal/keyfile"
)

// dial serves the collector over gRPC and connects to it.
func (c *collector) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	server := c.GRPC()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	connection, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	return connection
}

// ctx carries the collector's key in gRPC's metadata.
func (c *collector) ctx(t *testing.T) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "x-api-key", c.key)
}

func TestOTLPBecomesStreamRecords(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	connection := c.dial(t)
	for _, s := range samples(t) {
		http := func(mediaType, encoding string, body []byte, answer string) func() error {
			return func() error {
				r := c.post(t, s.signal.path, bytes.NewReader(body), "Content-Type", mediaType, "Content-Encoding", encoding)
				if r.status != 200 || r.header.Get("Content-Type") != mediaType || string(r.body) != answer {
					return fmt.Errorf("answered %d %v %s", r.status, r.header, r.body)
				}
				return nil
			}
		}
		ids := map[string][]any{}
		for _, way := range []struct {
			name, request string
			post          func() error
		}{
			{"protobuf", "protobuf", http("application/x-protobuf", "", s.asProto, "")},
			{"protobuf, gzip", "protobuf", http("application/x-protobuf", "gzip", compressed(t, "gzip", s.asProto), "")},
			{"JSON", "JSON", http("application/json", "", s.asJSON, "{}")},
			{"JSON, zstd", "JSON", http("application/json", "zstd", compressed(t, "zstd", s.asJSON), "{}")},
			{"gRPC", "protobuf", func() error { return s.export(c.ctx(t), connection) }},
			{"gRPC, gzip", "protobuf", func() error { return s.export(c.ctx(t), connection, grpc.UseCompressor(gzip.Name)) }},
			{"gRPC, zstd", "protobuf", func() error { return s.export(c.ctx(t), connection, grpc.UseCompressor(zstdName)) }},
		} {
			if err := way.post(); err != nil {
				t.Errorf("%s, %s: %v", s.signal.name, way.name, err)
				continue
			}
			got := c.stream.take(t)
			if len(got) != len(s.documents) {
				t.Errorf("%s, %s: %d records, want %d", s.signal.name, way.name, len(got), len(s.documents))
				continue
			}
			var now []any
			for i, want := range s.documents {
				now = append(now, got[i]["id"])
				if want.id == "" { // derived
					want.id, _ = got[i]["id"].(string)
					if !strings.HasSuffix(want.id, fmt.Sprintf("-%d", i)) {
						t.Errorf("%s, %s: the id of record %d is %s", s.signal.name, way.name, i, want.id)
					}
				}
				body := headOf(t, got[i], want.id, want.recordType, want.index, want.at)
				if wantBody := object(t, want.body); !reflect.DeepEqual(body, wantBody) {
					t.Errorf("%s, %s: the body of record %d is\n%v\nwant\n%v", s.signal.name, way.name, i, body, wantBody)
				}
			}
			// A retry is the same records, on whichever way it comes.
			if before := ids[way.request]; before != nil && !slices.Equal(before, now) {
				t.Errorf("%s, %s: the ids are %v, before %v", s.signal.name, way.name, now, before)
			}
			ids[way.request] = now
		}
	}
}

func TestEmptyExportIsAccepted(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	for _, s := range signals {
		if r := c.postText(t, s.path, "", "Content-Type", "application/x-protobuf"); r.status != 200 || len(r.body) != 0 {
			t.Errorf("%s: answered %d %s", s.path, r.status, r.body)
		}
		if r := c.postText(t, s.path, "{}", "Content-Type", "application/json"); r.status != 200 || string(r.body) != "{}" {
			t.Errorf("%s: answered %d %s", s.path, r.status, r.body)
		}
	}
}

// twoSpans is one span that is nested deeper than 5, and one that is not.
func twoSpans() ptraceotlp.ExportRequest {
	traces := ptrace.NewTraces()
	spans := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans()
	nest(spans.AppendEmpty().Attributes().PutEmpty("deep"), 4)
	nest(spans.AppendEmpty().Attributes().PutEmpty("flat"), 3)
	return ptraceotlp.NewExportRequestFromTraces(traces)
}

// nest puts so many lists into one another.
func nest(value pcommon.Value, levels int) {
	for range levels {
		value = value.SetEmptySlice().AppendEmpty()
	}
}

func TestOTLPPartialSuccess(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{Depth: 5})
	asJSON, asProto := both(t, twoSpans())
	const why = "record 0 is nested 6 deep, more than 5"
	check := func(name string, response ptraceotlp.ExportResponse, err error) {
		if err != nil || response.PartialSuccess().RejectedSpans() != 1 || response.PartialSuccess().ErrorMessage() != why {
			t.Errorf("%s: %d rejected, %q, %v", name, response.PartialSuccess().RejectedSpans(), response.PartialSuccess().ErrorMessage(), err)
		}
		if got := c.stream.take(t); len(got) != 1 {
			t.Errorf("%s: %d records came through, want 1", name, len(got))
		}
	}
	response := ptraceotlp.NewExportResponse()
	r := c.post(t, "/v1/traces", bytes.NewReader(asProto), "Content-Type", "application/x-protobuf")
	check("protobuf", response, errors.Join(response.UnmarshalProto(r.body), statusIs(r, 200)))
	response = ptraceotlp.NewExportResponse()
	r = c.post(t, "/v1/traces", bytes.NewReader(asJSON), "Content-Type", "application/json")
	check("JSON", response, errors.Join(response.UnmarshalJSON(r.body), statusIs(r, 200)))
	response, err := ptraceotlp.NewGRPCClient(c.dial(t)).Export(c.ctx(t), twoSpans())
	check("gRPC", response, err)
}

func statusIs(r reply, want int) error {
	if r.status != want {
		return fmt.Errorf("answered %d %s", r.status, r.body)
	}
	return nil
}

// statusOf decodes the google.rpc.Status of a failure.
func statusOf(t *testing.T, r reply, mediaType string) (code codes.Code, message string) {
	t.Helper()
	if got := r.header.Get("Content-Type"); got != mediaType {
		t.Errorf("answered in %s, asked in %s", got, mediaType)
	}
	if mediaType == "application/json" {
		var s struct {
			Code    codes.Code
			Message string
		}
		// A code would also read from its name.
		if !bytes.HasPrefix(r.body, []byte(`{"code":`)) || json.Unmarshal(r.body, &s) != nil {
			t.Errorf("not a status: %s", r.body)
		}
		return s.Code, s.Message
	}
	var s rpcstatus.Status
	if err := proto.Unmarshal(r.body, &s); err != nil {
		t.Errorf("not a status: %v: %q", err, r.body)
	}
	return codes.Code(s.Code), s.Message
}

func TestOTLPFailures(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{Depth: 3, BodyBytes: 1 << 20})
	asJSON, asProto := both(t, twoSpans())
	for _, test := range []struct {
		name    string
		json    string
		proto   string
		headers []string
		status  int
		code    codes.Code
		message string
	}{
		{"nothing good", string(asJSON), string(asProto), nil, 400, codes.InvalidArgument, "no record can be taken: record 0 is nested 6 deep, more than 3; record 1 is nested 5 deep, more than 3"},
		{"not decodable", `{"resourceSpans":[{"scopeSpans":7}]}`, "\x0a\x02\x12\xff", nil, 400, codes.InvalidArgument, ""},
		{"not decodable, with bytes that are no text", "{\"resourceSpans\":\"\xff\"}", "\xff", nil, 400, codes.InvalidArgument, ""},
		{"more than JSON", "{}{}", "\x0a", nil, 400, codes.InvalidArgument, ""},
		{"too large", "{" + strings.Repeat(" ", 1<<20) + "}", strings.Repeat("\x0a\x00", 1<<20), nil, 413, codes.InvalidArgument, ""},
		{"no key", "{}", "", []string{"Authorization", ""}, 401, codes.Unauthenticated, ""},
		{"an unknown encoding", "{}", "", []string{"Content-Encoding", "br"}, 415, codes.InvalidArgument, ""},
	} {
		for mediaType, body := range map[string]string{"application/json": test.json, "application/x-protobuf": test.proto} {
			r := c.postText(t, "/v1/traces", body, append([]string{"Content-Type", mediaType}, test.headers...)...)
			code, message := statusOf(t, r, mediaType)
			if r.status != test.status || code != test.code || message == "" || (test.message != "" && message != test.message) {
				t.Errorf("%s, %s: answered %d, %v, %q", test.name, mediaType, r.status, code, message)
			}
		}
	}
	c.stream.err = errors.New("out of order")
	body, _ := both(t, ptraceotlp.NewExportRequestFromTraces(func() ptrace.Traces {
		traces := ptrace.NewTraces()
		traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		return traces
	}()))
	r := c.postText(t, "/v1/traces", string(body), "Content-Type", "application/json")
	if code, _ := statusOf(t, r, "application/json"); r.status != 503 || code != codes.Unavailable || r.header.Get("Retry-After") == "" {
		t.Errorf("nothing durable: answered %d %v %s", r.status, r.header, r.body)
	}
	if r := c.postText(t, "/v1/traces", "{}", "Content-Type", "text/plain"); r.status != 415 || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("an unknown media type: answered %d %s", r.status, r.body)
	}
}

func TestGRPCFailures(t *testing.T) {
	t.Parallel()
	// One good record, two bad ones, three requests that are too large, and two
	// records that are not durable use up the burst.
	c := newCollector(t, Limits{Depth: 3, BodyBytes: 1 << 20, TenantRate: 0.001, TenantBurst: 8}) // nothing comes back meanwhile
	connection := c.dial(t)
	client := ptraceotlp.NewGRPCClient(connection)
	small := func() ptraceotlp.ExportRequest {
		traces := ptrace.NewTraces()
		traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		return ptraceotlp.NewExportRequestFromTraces(traces)
	}
	large := small()
	large.Traces().ResourceSpans().At(0).SetSchemaUrl(strings.Repeat("x", 2<<20))
	with := func(pairs ...string) context.Context { return metadata.AppendToOutgoingContext(t.Context(), pairs...) }
	expect := func(name string, err error, code codes.Code, retry bool) {
		t.Helper()
		details := status.Convert(err).Details()
		hasRetry := slices.ContainsFunc(details, func(d any) bool { _, ok := d.(*errdetails.RetryInfo); return ok })
		if status.Code(err) != code || hasRetry != retry {
			t.Errorf("%s: %v, details %v, want %v and retry %v", name, err, details, code, retry)
		}
	}
	_, err := client.Export(t.Context(), small())
	expect("no key", err, codes.Unauthenticated, false)
	_, err = client.Export(with("authorization", "Bearer x"), small())
	expect("an unknown key", err, codes.Unauthenticated, false)
	_, err = client.Export(with("authorization", "ApiKey "+c.key), small())
	expect("a good key", err, codes.OK, false)
	_, err = client.Export(c.ctx(t), twoSpans())
	expect("nothing good", err, codes.InvalidArgument, false)
	for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}, {grpc.UseCompressor(zstdName)}} {
		_, err = client.Export(c.ctx(t), large, options...)
		expect("too large", err, codes.ResourceExhausted, false)
	}
	c.stream.err = errors.New("out of order")
	_, err = client.Export(c.ctx(t), small())
	expect("nothing durable", err, codes.Unavailable, true)
	_, err = client.Export(c.ctx(t), small())
	expect("nothing durable", err, codes.Unavailable, true)
	_, err = client.Export(c.ctx(t), small())
	expect("too fast", err, codes.ResourceExhausted, true)

	if err := keyfile.Revoke(c.keys, testTenant, ""); err != nil {
		t.Fatal(err)
	}
	c.Server.keys.checked.Store(0)
	_, err = client.Export(c.ctx(t), small())
	expect("a disabled key", err, codes.PermissionDenied, false)
	if r := c.postText(t, "/v1/telemetry", oneRecord); r.status != http.StatusForbidden {
		t.Errorf("a disabled key over HTTP: answered %d %s", r.status, r.body)
	}
	// Services beside ours have messages of their own, and no keys.
	if _, err := grpc_health_v1.NewHealthClient(connection).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{}); err != nil {
		t.Errorf("health: %v", err)
	}
}

// Wherever OpenTelemetry's data can be nested, a message that would exhaust
// the decoder's stack is refused before it is decoded.
func TestDeepMessagesAreRefusedUndecoded(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	places := map[string]func() (interface {
		MarshalJSON() ([]byte, error)
		MarshalProto() ([]byte, error)
	}, pcommon.Value){}
	type request = interface {
		MarshalJSON() ([]byte, error)
		MarshalProto() ([]byte, error)
	}
	trace := func(place func(ptrace.ResourceSpans) pcommon.Value) func() (request, pcommon.Value) {
		return func() (request, pcommon.Value) {
			traces := ptrace.NewTraces()
			v := place(traces.ResourceSpans().AppendEmpty())
			return ptraceotlp.NewExportRequestFromTraces(traces), v
		}
	}
	logs := func(place func(plog.ResourceLogs) pcommon.Value) func() (request, pcommon.Value) {
		return func() (request, pcommon.Value) {
			logs := plog.NewLogs()
			v := place(logs.ResourceLogs().AppendEmpty())
			return plogotlp.NewExportRequestFromLogs(logs), v
		}
	}
	metric := func(place func(pmetric.Metric) pcommon.Map) func() (request, pcommon.Value) {
		return func() (request, pcommon.Value) {
			metrics := pmetric.NewMetrics()
			v := place(metrics.ResourceMetrics().AppendEmpty().ScopeMetrics().AppendEmpty().Metrics().AppendEmpty()).PutEmpty("x")
			return pmetricotlp.NewExportRequestFromMetrics(metrics), v
		}
	}
	places["/v1/traces resource"] = trace(func(r ptrace.ResourceSpans) pcommon.Value {
		r.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
		return r.Resource().Attributes().PutEmpty("x")
	})
	places["/v1/traces scope"] = trace(func(r ptrace.ResourceSpans) pcommon.Value {
		scope := r.ScopeSpans().AppendEmpty()
		scope.Spans().AppendEmpty()
		return scope.Scope().Attributes().PutEmpty("x")
	})
	places["/v1/traces span"] = trace(func(r ptrace.ResourceSpans) pcommon.Value {
		return r.ScopeSpans().AppendEmpty().Spans().AppendEmpty().Attributes().PutEmpty("x")
	})
	places["/v1/traces event"] = trace(func(r ptrace.ResourceSpans) pcommon.Value {
		return r.ScopeSpans().AppendEmpty().Spans().AppendEmpty().Events().AppendEmpty().Attributes().PutEmpty("x")
	})
	places["/v1/traces link"] = trace(func(r ptrace.ResourceSpans) pcommon.Value {
		return r.ScopeSpans().AppendEmpty().Spans().AppendEmpty().Links().AppendEmpty().Attributes().PutEmpty("x")
	})
	places["/v1/logs resource"] = logs(func(r plog.ResourceLogs) pcommon.Value {
		r.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty()
		return r.Resource().Attributes().PutEmpty("x")
	})
	places["/v1/logs scope"] = logs(func(r plog.ResourceLogs) pcommon.Value {
		scope := r.ScopeLogs().AppendEmpty()
		scope.LogRecords().AppendEmpty()
		return scope.Scope().Attributes().PutEmpty("x")
	})
	places["/v1/logs body"] = logs(func(r plog.ResourceLogs) pcommon.Value {
		return r.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body()
	})
	places["/v1/logs attributes"] = logs(func(r plog.ResourceLogs) pcommon.Value {
		return r.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Attributes().PutEmpty("x")
	})
	places["/v1/metrics metadata"] = metric(func(m pmetric.Metric) pcommon.Map {
		m.SetEmptyGauge().DataPoints().AppendEmpty()
		return m.Metadata()
	})
	places["/v1/metrics gauge"] = metric(func(m pmetric.Metric) pcommon.Map { return m.SetEmptyGauge().DataPoints().AppendEmpty().Attributes() })
	places["/v1/metrics sum"] = metric(func(m pmetric.Metric) pcommon.Map { return m.SetEmptySum().DataPoints().AppendEmpty().Attributes() })
	places["/v1/metrics exemplar"] = metric(func(m pmetric.Metric) pcommon.Map {
		return m.SetEmptySum().DataPoints().AppendEmpty().Exemplars().AppendEmpty().FilteredAttributes()
	})
	places["/v1/metrics histogram"] = metric(func(m pmetric.Metric) pcommon.Map {
		return m.SetEmptyHistogram().DataPoints().AppendEmpty().Attributes()
	})
	places["/v1/metrics histogram exemplar"] = metric(func(m pmetric.Metric) pcommon.Map {
		return m.SetEmptyHistogram().DataPoints().AppendEmpty().Exemplars().AppendEmpty().FilteredAttributes()
	})
	places["/v1/metrics exponential histogram"] = metric(func(m pmetric.Metric) pcommon.Map {
		return m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty().Attributes()
	})
	places["/v1/metrics exponential histogram exemplar"] = metric(func(m pmetric.Metric) pcommon.Map {
		return m.SetEmptyExponentialHistogram().DataPoints().AppendEmpty().Exemplars().AppendEmpty().FilteredAttributes()
	})
	places["/v1/metrics summary"] = metric(func(m pmetric.Metric) pcommon.Map {
		return m.SetEmptySummary().DataPoints().AppendEmpty().Attributes()
	})
	for name, place := range places {
		path, _, _ := strings.Cut(name, " ")
		deep, v := place()
		for range maxMessageDepth / 2 { // lists and objects in turn
			v = v.SetEmptyMap().PutEmpty("x").SetEmptySlice().AppendEmpty()
		}
		asJSON, asProto := both(t, deep)
		for mediaType, body := range map[string][]byte{"application/json": asJSON, "application/x-protobuf": asProto} {
			r := c.post(t, path, bytes.NewReader(body), "Content-Type", mediaType)
			if code, message := statusOf(t, r, mediaType); r.status != 400 || code != codes.InvalidArgument || !strings.HasSuffix(message, fmt.Sprintf("nested more than %d deep", maxMessageDepth)) {
				t.Errorf("%s, %s: answered %d %.200q", name, mediaType, r.status, message)
			}
		}
		// As deep as the limit on records can be set is looked at.
		shallow, v := place()
		nest(v, maxDepth)
		asJSON, asProto = both(t, shallow)
		for mediaType, body := range map[string][]byte{"application/json": asJSON, "application/x-protobuf": asProto} {
			r := c.post(t, path, bytes.NewReader(body), "Content-Type", mediaType)
			if r.status == 400 {
				if _, message := statusOf(t, r, mediaType); !strings.Contains(message, "deep, more than 64") {
					t.Errorf("%s, %s: answered %d %.200q", name, mediaType, r.status, message)
				}
			}
		}
	}
}

// An attribute that is there twice would make Elasticsearch refuse the record.
func TestDuplicateAttributesAreKeptApart(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	var attributes []string
	for i := range 60 {
		attributes = append(attributes, fmt.Sprintf(`{"key":"k%d","value":{"intValue":%d}}`, i%30, i))
	}
	body := `{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[` + strings.Join(attributes, ",") + `]}]}]}]}`
	if r := c.postText(t, "/v1/traces", body, "Content-Type", "application/json"); r.status != 200 {
		t.Fatalf("answered %d %s", r.status, r.body)
	}
	got := c.stream.take(t)[0]["attributes"].(map[string]any)
	for i := range 30 {
		if fmt.Sprint(got[fmt.Sprintf("k%d", i)]) != fmt.Sprint(i) || fmt.Sprint(got[fmt.Sprintf("k%d#2", i)]) != fmt.Sprint(i+30) {
			t.Errorf("attribute %d in %v", i, got)
		}
	}
}

// Protobuf's strings may be anything: Latin-1 makes two names one.
func TestAttributesThatBecomeEqualAreKeptApart(t *testing.T) {
	t.Parallel()
	c := newCollector(t, Limits{})
	attribute := func(key, value string) []byte { return inField(6, text(1, key), inField(2, text(1, value))) }
	record := inField(2, attribute("caf\xe9", "one"), attribute("caf\xe8", "two"), attribute("caf\ufffd#2", "three"))
	if status, _, why := c.exportOf(t, "/v1/logs", exported(record)); status != 200 {
		t.Fatalf("answered %d %s", status, why)
	}
	want := object(t, `{"caf\ufffd":"one","caf\ufffd#2":"two","caf\ufffd#2#2":"three"}`)
	if got := c.stream.take(t)[0]["attributes"]; !reflect.DeepEqual(got, want) {
		t.Errorf("the attributes are %v, want %v", got, want)
	}
}
