package e2e

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// backend is where programs export their spans to, by OTLP over HTTP.
type backend struct {
	t     *testing.T
	mu    sync.Mutex
	spans []exportedSpan
}

type exportedSpan struct {
	ptrace.Span
	service string
}

func newBackend(t *testing.T) (b *backend, url string) {
	t.Helper()
	b = &backend{t: t}
	server := httptest.NewServer(b)
	t.Cleanup(server.Close)
	return b, server.URL
}

// ServeHTTP takes an ExportTraceServiceRequest.
func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	request := ptraceotlp.NewExportRequest()
	if err == nil {
		err = request.UnmarshalProto(body)
	}
	if err != nil || r.URL.Path != "/v1/traces" {
		b.t.Errorf("an export to %s cannot be read: %v", r.URL.Path, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, resource := range request.Traces().ResourceSpans().All() {
		service, _ := resource.Resource().Attributes().Get("service.name")
		for _, scope := range resource.ScopeSpans().All() {
			for _, span := range scope.Spans().All() {
				b.spans = append(b.spans, exportedSpan{span, service.Str()})
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(nil)
}

// trace are the spans of a trace, by name.
func (b *backend) trace(id string) map[string]exportedSpan {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := map[string]exportedSpan{}
	for _, span := range b.spans {
		if span.TraceID().String() == id {
			found[span.Name()] = span
		}
	}
	return found
}

// awaitTrace waits until a trace has the spans, and returns it.
func (s *system) awaitTrace(b *backend, id string, names ...string) map[string]exportedSpan {
	s.t.Helper()
	var found map[string]exportedSpan
	s.await(func() error {
		found = b.trace(id)
		for _, name := range names {
			if _, there := found[name]; !there {
				return fmt.Errorf("trace %s has the spans %v, and no %q", id, slices.Sorted(maps.Keys(found)), name)
			}
		}
		return nil
	})
	return found
}

// The way of a batch through Temporal.
var throughTemporal = []string{"batch", "StartWorkflow:IngestBatch", "RunWorkflow:IngestBatch", "StartActivity:PutBatch", "RunActivity:PutBatch", "put", "index"}

// startTraced starts a pipeline whose agents decide what is traced.
func startTraced(t *testing.T, direct bool) (*system, *backend) {
	t.Helper()
	b, url := newBackend(t)
	return start(t, func(at *servers) {
		at.direct = direct
		at.all = []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + url, "OTEL_BSP_SCHEDULE_DELAY=100", "MILLRACE_TRACE_SAMPLE=0.000001"}
		at.collector = []string{
			"MILLRACE_INGEST_LINGER=1s",        // so that concurrent requests share a batch
			"MILLRACE_INGEST_START_TIMEOUT=2m", // or a busy Temporal is passed by, and so are its spans
		}
	}), b
}

// TestTraceFollowsRecordToIndex: in one trace, of the agent's making, over HTTP and over gRPC.
func TestTraceFollowsRecordToIndex(t *testing.T) {
	t.Parallel()
	s, b := startTraced(t, false)
	const overHTTP, overGRPC, agent = "0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319d", "b7ad6b7169203331"
	s.post("/v1/telemetry", "application/json", []byte(`[{"id":"traced","type":"log"},{"id":"beside","type":"log"}]`), http.StatusAccepted,
		"traceparent", "00-"+overHTTP+"-"+agent+"-01")
	s.post("/v1/telemetry", "application/json", []byte(`[{"id":"untraced","type":"log"}]`), http.StatusAccepted, "traceparent", "00-"+strings.Repeat("c", 32)+"-"+agent+"-00")
	s.exportSpan("00-" + overGRPC + "-" + agent + "-01")
	documents := s.awaitDocuments(4)

	spans := s.awaitTrace(b, overHTTP, append(slices.Clone(throughTemporal), "request telemetry")...)
	request := spans["request telemetry"]
	if got := request.ParentSpanID().String(); got != agent {
		t.Errorf("the request's parent is %s, not the agent's span", got)
	}
	for child, parent := range map[string]string{
		"batch": "request telemetry", "StartWorkflow:IngestBatch": "batch", "RunWorkflow:IngestBatch": "StartWorkflow:IngestBatch",
		"StartActivity:PutBatch": "RunWorkflow:IngestBatch", "RunActivity:PutBatch": "StartActivity:PutBatch", "put": "RunActivity:PutBatch", "index": "request telemetry",
	} {
		if spans[child].ParentSpanID() != spans[parent].SpanID() {
			t.Errorf("%s is no child of %s", child, parent)
		}
	}
	if request.service != "millrace-collector" || spans["index"].service != "millrace-worker" {
		t.Errorf("the request is of %s, the indexing of %s", request.service, spans["index"].service)
	}
	s.awaitTrace(b, overGRPC, append(slices.Clone(throughTemporal), "request otlp_traces_grpc")...)

	traced := 0
	for _, d := range documents {
		switch text, _ := d.get("ingest_trace").(string); {
		case strings.HasPrefix(text, "00-"+overHTTP):
			traced++
			if id, _ := spans["index"].Attributes().Get("millrace.doc_id"); d.get("id") != "traced" || id.Str() != d.ID {
				t.Errorf("%v carries the trace, and the span names document %s", d.get("id"), id.Str())
			}
		case text != "" && !strings.HasPrefix(text, "00-"+overGRPC):
			t.Errorf("%v carries the trace %s", d.get("id"), text)
		}
	}
	if traced != 1 {
		t.Errorf("%d documents carry the trace", traced)
	}
	if spans := b.trace(strings.Repeat("c", 32)); len(spans) > 0 {
		t.Errorf("a request whose agent does not sample has %v", slices.Sorted(maps.Keys(spans)))
	}
	b.onlyOf(overHTTP, overGRPC)
}

// onlyOf checks that no other work, such as that of shards, makes spans.
func (b *backend) onlyOf(traces ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, span := range b.spans {
		if !slices.Contains(traces, span.TraceID().String()) {
			b.t.Errorf("%s of %s is of no traced request", span.Name(), span.service)
		}
	}
}

// exportSpan posts a span over gRPC, with a traceparent.
func (s *system) exportSpan(traceparent string) {
	s.t.Helper()
	connection, err := grpc.NewClient(s.collector.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	s.must(err)
	defer func() { _ = connection.Close() }()
	traces := ptrace.NewTraces()
	span := traces.ResourceSpans().AppendEmpty().ScopeSpans().AppendEmpty().Spans().AppendEmpty()
	span.SetTraceID(pcommon.TraceID{1})
	span.SetSpanID(pcommon.SpanID{1})
	ctx := metadata.AppendToOutgoingContext(s.t.Context(), "authorization", "ApiKey "+s.key, "traceparent", traceparent)
	_, err = ptraceotlp.NewGRPCClient(connection).Export(ctx, ptraceotlp.NewExportRequestFromTraces(traces))
	s.must(err)
}

// TestJoinedRequestsLinkToOneBatch, which goes directly into the stream.
func TestJoinedRequestsLinkToOneBatch(t *testing.T) {
	t.Parallel()
	s, b := startTraced(t, true)
	const agents = 5
	traces := make([]string, agents)
	var posting sync.WaitGroup
	for n := range agents {
		traces[n] = fmt.Sprintf("%032x", n+1)
		posting.Go(func() {
			s.post("/v1/telemetry", "application/json", fmt.Appendf(nil, `[{"id":"joined-%d","type":"log"}]`, n), http.StatusAccepted,
				"traceparent", "00-"+traces[n]+"-b7ad6b7169203331-01")
		})
	}
	posting.Wait()
	s.awaitDocuments(agents)
	requests, batches, links := map[string]bool{}, map[string]bool{}, 0
	for _, id := range traces {
		spans := s.awaitTrace(b, id, "request telemetry", "index")
		requests[spans["request telemetry"].SpanID().String()] = true
		if batch, first := spans["batch"]; first {
			batches[batch.SpanID().String()] = true
			s.awaitTrace(b, id, "put")
		}
	}
	for _, id := range traces {
		spans := b.trace(id)
		for name, known := range map[string]map[string]bool{"batch": requests, "request telemetry": batches} {
			span, there := spans[name]
			if !there {
				continue
			}
			for _, link := range span.Links().All() {
				if links++; !known[link.SpanID().String()] {
					t.Errorf("%s of %s links to a span that is neither request nor batch", name, id)
				}
			}
		}
	}
	if joined := agents - len(batches); len(batches) == 0 || joined == 0 || links != 2*joined {
		t.Errorf("%d requests went in %d batches with %d links", agents, len(batches), links)
	}
	b.onlyOf(traces...)
}
