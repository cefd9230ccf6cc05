package api

import (
	"encoding/hex"

	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

var traceSignal = signal{
	name: "otlp_traces", path: "/v1/traces", service: "opentelemetry.proto.collector.trace.v1.TraceService",
	read:  readTraces,
	names: [][]string{{"resourceSpans", "resource_spans"}, {"scopeSpans", "scope_spans", "deprecatedScopeSpans", "deprecated_scope_spans"}, {"spans"}},
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

// readTraces makes a record of each span.
func readTraces(b *batch, asJSON bool) error {
	if !asJSON {
		return b.walk(one, b.encodedSpan)
	}
	request := ptraceotlp.NewExportRequest()
	if err := request.UnmarshalJSON(b.request); err != nil {
		return undecodable("traces", err)
	}
	w := &b.draft.writer
	for _, resource := range request.Traces().ResourceSpans().All() {
		var around surroundings
		around.resource = &commonPart{fragment: resourceOf(w, resource.Resource(), resource.SchemaUrl())}
		for _, scope := range resource.ScopeSpans().All() {
			around.scope = &commonPart{fragment: scopeOf(w, scope.Scope(), scope.SchemaUrl())}
			for _, span := range scope.Spans().All() {
				if err := b.admit(); err != nil {
					return err
				}
				b.span(span, around)
			}
		}
	}
	return nil
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
	w := &b.draft.writer
	w.begin()
	w.span(span)
	w.around(around)
	b.document(w, spanID(span), "span", span.StartTimestamp())
}

// spanID is the record id of a span: its trace's id and its own. One of zeros
// is none.
func spanID(span ptrace.Span) string {
	trace, id := span.TraceID(), span.SpanID()
	if trace.IsEmpty() || id.IsEmpty() {
		return ""
	}
	var text [49]byte
	hex.Encode(text[:32], trace[:])
	text[32] = '-'
	hex.Encode(text[33:], id[:])
	return string(text[:])
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
	if span.EndTimestamp() != 0 {
		// Wraps to a negative one where the end is before the start.
		w.integer("duration", int64(span.EndTimestamp()-span.StartTimestamp()))
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
