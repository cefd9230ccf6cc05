package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.temporal.io/sdk/contrib/opentelemetry"
	"go.temporal.io/sdk/interceptor"
	"golang.org/x/time/rate"

	"millrace/internal/telemetry"
)

const (
	scope = "millrace" // of our spans

	// mostAsked is how many requests a second a collector traces because their
	// agents ask it to, by a traceparent: agents are strangers.
	mostAsked = 20

	// flushWithin bounds how long a process that ends waits for its last spans.
	flushWithin = 5 * time.Second
)

// Tracer begins the spans of a process. A nil one begins none.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	sample   float64       // share of the requests whose agents do not ask
	asked    *rate.Limiter // of those whose agents do
}

// New returns the tracer of a program, such as "collector"; nil if the settings,
// which must be valid, say that nothing is traced. OpenTelemetry's own environment
// (OTEL_EXPORTER_OTLP_…, OTEL_RESOURCE_ATTRIBUTES, …) says where spans go.
func New(ctx context.Context, s Settings, program string) (*Tracer, error) {
	if s.Sample == 0 {
		return nil, nil
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { slog.Warn("spans are not exported", "error", err) }))
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the exporter of spans: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "millrace-"+program)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("read OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	// Nothing begins a span but for a request that is traced.
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about), sdk.WithSampler(sdk.AlwaysSample()))
	return &Tracer{
		provider: provider, tracer: provider.Tracer(scope),
		sample: s.Sample, asked: rate.NewLimiter(mostAsked, mostAsked),
	}, nil
}

// Close exports the spans that have ended.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		slog.Warn("some spans were not exported", "error", err)
	}
}

// Interceptors have Temporal carry a span from who starts a workflow to its
// activities.
func (t *Tracer) Interceptors() []interceptor.ClientInterceptor {
	if t == nil {
		return nil
	}
	made, err := opentelemetry.NewTracingInterceptor(opentelemetry.TracerOptions{
		Tracer: t.tracer, TextMapPropagator: propagation.TraceContext{}, DisableBaggage: true, AllowInvalidParentSpans: true,
		SpanStarter: func(ctx context.Context, tracer trace.Tracer, name string, options ...trace.SpanStartOption) trace.Span {
			if !trace.SpanContextFromContext(ctx).IsSampled() {
				return none // which is in no header
			}
			_, span := tracer.Start(ctx, name, options...)
			return span
		},
	})
	if err != nil { // cannot happen: no option is of a kind that it may refuse
		panic(fmt.Sprintf("make the interceptor of spans: %v", err))
	}
	return []interceptor.ClientInterceptor{made}
}

// none is no span.
var none = trace.SpanFromContext(context.Background())

// Request begins the span of a request that came then with a header, if it is to be
// traced: an agent's traceparent decides, else the share of the settings. The
// context holds the span.
func (t *Tracer) Request(ctx context.Context, protocol string, header propagation.TextMapCarrier, began time.Time) (context.Context, trace.Span) {
	if t == nil {
		return ctx, none
	}
	of := propagation.TraceContext{}.Extract(ctx, header)
	agent := trace.SpanContextFromContext(of)
	traced := agent.IsSampled() && t.asked.Allow()
	if !agent.IsValid() {
		traced = rand.Float64() < t.sample
	}
	if !traced {
		return ctx, none
	}
	return t.tracer.Start(of, "request "+protocol,
		trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(began))
}

// Begin begins a span of what is done for the one in ctx; none where that is none.
func Begin(ctx context.Context, name string) (context.Context, trace.Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, none
	}
	return parent.TracerProvider().Tracer(scope).Start(ctx, name)
}

// Join begins a span of what is done for several requests, which are traced, and a
// context for it: it belongs to the trace of the first, and the others link to it and are
// linked. Of no request there is none.
func Join(name string, requests []trace.Span) (context.Context, trace.Span) {
	if len(requests) == 0 {
		return context.Background(), none
	}
	var links []trace.Link
	for _, r := range requests[1:] {
		links = append(links, trace.Link{SpanContext: r.SpanContext()})
	}
	ctx := trace.ContextWithSpan(context.Background(), requests[0])
	ctx, span := requests[0].TracerProvider().Tracer(scope).Start(ctx, name, trace.WithLinks(links...))
	for _, r := range requests[1:] {
		r.AddLink(trace.Link{SpanContext: span.SpanContext()})
	}
	return ctx, span
}

// End ends a span, with what went wrong, if anything did.
func End(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}

// Text is a span as a stream record carries it: a traceparent; empty for none.
func Text(span trace.Span) string {
	if !span.IsRecording() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(trace.ContextWithSpan(context.Background(), span), carrier)
	return carrier[traceparent]
}

// traceparent is the W3C's name of the header.
const traceparent = "traceparent"

// Indexed enters the span of a stream record that is in the index now, if its
// request is traced. began is when it was sent there.
func (t *Tracer) Indexed(data []byte, began time.Time) {
	if t == nil {
		return
	}
	record, err := telemetry.Parse(data)
	if err != nil {
		return
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{traceparent: string(record.Trace())})
	if !trace.SpanContextFromContext(ctx).IsSampled() { // a body's own, of a collector that did not know the field
		return
	}
	_, span := t.tracer.Start(ctx, "index", trace.WithTimestamp(began), trace.WithSpanKind(trace.SpanKindConsumer))
	span.SetAttributes(attribute.String("millrace.index", string(record.Index)), attribute.String("millrace.doc_id", string(record.DocIDText)))
	span.End()
}
