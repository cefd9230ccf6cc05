package api

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
)

var logSignal = signal{
	name: "otlp_logs", path: "/v1/logs", service: "opentelemetry.proto.collector.logs.v1.LogsService",
	message: logMessage, read: readLogs,
	partial: func(rejected int64, why string, asJSON bool) ([]byte, error) {
		response := plogotlp.NewExportResponse()
		response.PartialSuccess().SetRejectedLogRecords(rejected)
		response.PartialSuccess().SetErrorMessage(why)
		if asJSON {
			return response.MarshalJSON()
		}
		return response.MarshalProto()
	},
}

// readLogs makes a record of each log record.
func readLogs(b *batch, asJSON bool) error {
	request := plogotlp.NewExportRequest()
	decode := request.UnmarshalProto
	if asJSON {
		decode = request.UnmarshalJSON
	}
	if err := decode(b.request); err != nil {
		return undecodable("logs", err)
	}
	w := &b.draft.writer
	for _, resource := range request.Logs().ResourceLogs().All() {
		resourceMembers := resourceOf(w, resource.Resource(), resource.SchemaUrl())
		for _, scope := range resource.ScopeLogs().All() {
			scopeMembers := scopeOf(w, scope.Scope(), scope.SchemaUrl())
			for _, record := range scope.LogRecords().All() {
				if err := b.admit(); err != nil {
					return err
				}
				w.begin()
				w.log(record)
				w.fragment(resourceMembers)
				w.fragment(scopeMembers)
				at := record.Timestamp()
				if at == 0 { // the source did not know it (data model, 'Field: Timestamp')
					at = record.ObservedTimestamp()
				}
				b.document(w, "", "log", at)
			}
		}
	}
	return nil
}

func (w *writer) log(record plog.LogRecord) {
	trace, id := record.TraceID(), record.SpanID()
	w.time("observed_timestamp", record.ObservedTimestamp())
	w.hex("trace_id", trace[:])
	w.hex("span_id", id[:])
	w.some("trace_flags", uint32(record.Flags()))
	w.text("severity_text", record.SeverityText())
	if record.SeverityNumber() != 0 {
		w.integer("severity_number", int64(record.SeverityNumber()))
	}
	w.text("event_name", record.EventName())
	w.object("body", func() { w.message(record.Body()) })
	w.attributes("attributes", record.Attributes())
	w.some("dropped_attributes_count", record.DroppedAttributesCount())
}

// message writes what a log record says, as text or as structure.
func (w *writer) message(body pcommon.Value) {
	switch body.Type() {
	case pcommon.ValueTypeEmpty:
	case pcommon.ValueTypeMap:
		w.name("structured")
		w.entries(body.Map())
	case pcommon.ValueTypeSlice:
		w.name("structured")
		w.open('{')
		w.name("value")
		w.slice(body.Slice())
		w.close('}')
	case pcommon.ValueTypeStr:
		w.name("text")
		w.quote(body.Str())
	default:
		w.text("text", body.AsString())
	}
}
