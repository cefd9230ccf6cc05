package load

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
)

func (p Protocol) path() string {
	if p == OTLP {
		return "/v1/traces"
	}
	return "/v1/telemetry"
}

func (p Protocol) contentType() string {
	if p == OTLP {
		return "application/x-protobuf"
	}
	return "application/json"
}

// encode appends the body of a post that holds the records of these numbers.
func (p Protocol) encode(dst []byte, source *Source, numbers []uint64) []byte {
	if p == OTLP {
		return append(dst, source.spans(numbers)...)
	}
	for i, n := range numbers {
		dst = append(dst, "[,"[min(i, 1)])
		dst = source.Append(dst, n)
	}
	return append(dst, ']')
}

// spans makes an OTLP request of spans that can be told from others by their
// trace id, see SpanID.
func (s *Source) spans(numbers []uint64) []byte {
	traces := ptrace.NewTraces()
	resource := traces.ResourceSpans().AppendEmpty()
	resource.Resource().Attributes().PutStr("service.name", s.Run)
	spans := resource.ScopeSpans().AppendEmpty().Spans()
	for _, n := range numbers {
		span := spans.AppendEmpty()
		trace, id := s.SpanID(n)
		span.SetTraceID(trace)
		span.SetSpanID(id)
		span.SetName("load")
		span.SetKind(ptrace.SpanKindServer)
		at := s.Timestamp(n)
		span.SetStartTimestamp(pcommon.NewTimestampFromTime(at))
		span.SetEndTimestamp(pcommon.NewTimestampFromTime(at.Add(s.Interval)))
		span.Attributes().PutStr("load.id", s.ID(n))
	}
	body, err := ptraceotlp.NewExportRequestFromTraces(traces).MarshalProto()
	if err != nil { // cannot happen: the message was made here
		panic(fmt.Sprintf("encode spans: %v", err))
	}
	return body
}

// SpanID returns trace and span id of record n where it is posted as OTLP.
func (s *Source) SpanID(n uint64) (pcommon.TraceID, pcommon.SpanID) {
	var trace pcommon.TraceID
	var span pcommon.SpanID
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(s.Run)) // never fails
	binary.BigEndian.PutUint64(trace[:8], hash.Sum64())
	binary.BigEndian.PutUint64(trace[8:], n+1) // an id of zeros is no id
	binary.BigEndian.PutUint64(span[:], n+1)
	return trace, span
}
