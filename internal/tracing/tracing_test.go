package tracing

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"millrace/internal/telemetry"
)

// Requests that are not traced cost nothing.
func TestWithoutTracerNothingIsAllocated(t *testing.T) { // not parallel: it counts allocations
	tracer, err := New(t.Context(), Settings{}, "test")
	if err != nil || tracer != nil || tracer.Interceptors() != nil {
		t.Fatalf("the tracer is %v, %v", tracer, err)
	}
	defer tracer.Close()
	began, record, header := time.Now(), []byte(`{"doc_id":"`), propagation.HeaderCarrier{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	failed := errors.New("it failed")
	if allocations := testing.AllocsPerRun(100, func() {
		ctx, request := tracer.Request(t.Context(), "telemetry", header, began)
		_, put := Begin(ctx, "put")
		_, batch := Join("batch", nil)
		if Text(request) != "" || request.IsRecording() || put.IsRecording() || batch.IsRecording() {
			t.Error("there is a span")
		}
		tracer.Indexed(record, began)
		End(batch, nil)
		End(put, failed)
		request.End()
	}); allocations != 0 {
		t.Errorf("it allocates %v times", allocations)
	}
}

// started returns a tracer whose spans go nowhere.
func started(t *testing.T, sample float64) *Tracer {
	t.Helper()
	tracer, err := New(t.Context(), Settings{Sample: sample}, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // nothing is exported
		_ = tracer.provider.Shutdown(ctx)
	})
	return tracer
}

// An earlier collector passed on a member of that name at the beginning of a body.
func TestIndexedTakesNoOtherMemberForATrace(t *testing.T) {
	t.Parallel()
	ended := &spans{}
	tracer := &Tracer{tracer: sdk.NewTracerProvider(sdk.WithSyncer(ended)).Tracer(scope)}
	at := time.Now()
	for text, want := range map[string]int{asked: 1, "": 0, "mine": 0, strings.TrimSuffix(asked, "1") + "0": 0} {
		head := telemetry.Head{Index: "telemetry-log", Digest: 1, ReceivedAt: at, Tenant: "t", Region: "r", ID: "i", Type: "log", Timestamp: at, Trace: text}
		ended.names = nil
		if tracer.Indexed(telemetry.AppendRecord(nil, head, []byte(`{}`)), at); len(ended.names) != want {
			t.Errorf("%q gives the spans %v", text, ended.names)
		}
	}
}

// spans notes what is exported.
type spans struct{ names []string }

// ExportSpans implements sdk.SpanExporter.
func (s *spans) ExportSpans(_ context.Context, ended []sdk.ReadOnlySpan) error {
	for _, span := range ended {
		s.names = append(s.names, span.Name())
	}
	return nil
}

// Shutdown implements sdk.SpanExporter.
func (*spans) Shutdown(context.Context) error { return nil }

const asked = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestAgentsAskForFewTraces(t *testing.T) {
	t.Parallel()
	tracer := started(t, math.SmallestNonzeroFloat64)
	tracer.asked.SetLimit(0) // no time passes
	traced := 0
	for range 10 * mostAsked {
		if _, span := tracer.Request(t.Context(), "telemetry", propagation.MapCarrier{traceparent: asked}, time.Now()); span.IsRecording() {
			traced++
		}
	}
	if traced != mostAsked {
		t.Errorf("%d requests are traced, not %d", traced, mostAsked)
	}
}

func TestShareOfRequestsIsTraced(t *testing.T) {
	t.Parallel()
	const requests = 10_000
	for _, share := range []float64{0.01, 0.5, 1} {
		tracer, traced := started(t, share), 0
		for range requests {
			if _, span := tracer.Request(t.Context(), "telemetry", propagation.MapCarrier{}, time.Now()); span.IsRecording() {
				traced++
			}
		}
		if got := float64(traced) / requests; math.Abs(got-share) > 0.05 {
			t.Errorf("%v of the requests are traced, not %v", got, share)
		}
		notSampled := propagation.MapCarrier{traceparent: strings.TrimSuffix(asked, "1") + "0"}
		if _, span := tracer.Request(t.Context(), "telemetry", notSampled, time.Now()); span.IsRecording() {
			t.Error("one whose agent does not sample is traced")
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	for _, c := range []struct {
		sample   float64
		protocol string
		wrong    string
	}{
		{0, "grpc", ""}, {1, "", ""}, {0.5, "http/protobuf", ""},
		{-0.1, "", "--trace-sample"}, {1.1, "", "--trace-sample"}, {math.NaN(), "", "--trace-sample"}, {0.5, "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL"},
	} {
		t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", c.protocol)
		if err := (Settings{Sample: c.sample}).Validate(); (err != nil) != (c.wrong != "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%v by %q: %v", c.sample, c.protocol, err)
		}
	}
}
