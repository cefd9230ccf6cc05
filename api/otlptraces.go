package api

import (
	"math"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

var traceSignal = signal{
	name: "otlp_traces", path: "/v1/traces", service: "opentelemetry.proto.collector.trace.v1.TraceService",
	request: traceRequest, count: one, take: (*batch).encodedSpan,
	partial: func(rejected int64, why string, asJSON bool) ([]byte, error) {
		response := ptraceotlp.NewExportResponse()
		response.PartialSuccess().SetRejectedSpans(rejected)
		response.PartialSuccess().SetErrorMessage(why)
		if asJSON {
			return response.MarshalJSON()
		}
		return response.MarshalProto()
	},
}

// encodedSpan takes or rejects a span as it is encoded.
func (b *batch) encodedSpan(record []byte, around surroundings) {
	request := ptraceotlp.NewExportRequest()
	if b.decoded(record, spanMessage, around, request.UnmarshalProto, resourcesField, scopesField, recordsField) {
		b.span(request.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Spans().At(0), around)
	}
}

// span takes or rejects a span.
func (b *batch) span(span ptrace.Span, around surroundings) {
	if problem := around.problem(); problem != "" {
		b.reject(problem)
		return
	}
	w := &b.draft.writer
	w.begin()
	w.span(span)
	w.around(around)
	b.document(w, b.draft.identity.span(span, around.resource.service), "span", span.StartTimestamp())
}

// durationOf is how long a span took, in nanoseconds: less than nothing where its
// clocks say so. Without a beginning or an end, or with one beyond 64 bits with
// a sign, it has none.
func durationOf(span ptrace.Span) (int64, bool) {
	start, end := span.StartTimestamp(), span.EndTimestamp()
	if start == 0 || end == 0 || start > math.MaxInt64 || end > math.MaxInt64 {
		return 0, false
	}
	return int64(end) - int64(start), true
}

func (w *writer) span(span ptrace.Span) {
	trace, id, parent := span.TraceID(), span.SpanID(), span.ParentSpanID()
	w.hex("trace_id", trace[:])
	w.hex("span_id", id[:])
	w.hex("parent_span_id", parent[:])
	w.text("trace_state", span.TraceState().AsRaw())
	w.some("flags", span.Flags())
	w.text("name", span.Name())
	if span.Kind() != ptrace.SpanKindUnspecified {
		w.text("kind", span.Kind().String())
	}
	if duration, ok := durationOf(span); ok {
		w.integer("duration", duration)
	}
	w.object("status", func() {
		w.text("code", span.Status().Code().String())
		w.text("message", span.Status().Message())
	})
	w.attributes("attributes", span.Attributes())
	w.some("dropped_attributes_count", span.DroppedAttributesCount())
	w.list("events", span.Events().Len(), func(i int) {
		event := span.Events().At(i)
		w.text("name", event.Name())
		w.time("timestamp", event.Timestamp())
		w.attributes("attributes", event.Attributes())
		w.some("dropped_attributes_count", event.DroppedAttributesCount())
	})
	w.some("dropped_events_count", span.DroppedEventsCount())
	w.list("links", span.Links().Len(), func(i int) {
		link := span.Links().At(i)
		trace, id := link.TraceID(), link.SpanID()
		w.hex("trace_id", trace[:])
		w.hex("span_id", id[:])
		w.text("trace_state", link.TraceState().AsRaw())
		w.some("flags", link.Flags())
		w.attributes("attributes", link.Attributes())
		w.some("dropped_attributes_count", link.DroppedAttributesCount())
	})
	w.some("dropped_links_count", span.DroppedLinksCount())
}
