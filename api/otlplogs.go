package api

import (
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
)

var logSignal = signal{
	name: "otlp_logs", path: "/v1/logs", service: "opentelemetry.proto.collector.logs.v1.LogsService",
	request: logRequest, count: one, take: (*batch).encodedLog,
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

// encodedLog takes or rejects a log record as it is encoded.
func (b *batch) encodedLog(record []byte, around surroundings) {
	request := plogotlp.NewExportRequest()
	if b.decoded(record, logMessage, around, request.UnmarshalProto, resourcesField, scopesField, recordsField) {
		b.log(request.Logs().ResourceLogs().At(0).ScopeLogs().At(0).LogRecords().At(0), around)
	}
}

// log takes or rejects a log record.
func (b *batch) log(record plog.LogRecord, around surroundings) {
	if problem := around.problem(); problem != "" {
		b.reject(problem)
		return
	}
	w := &b.draft.writer
	w.begin()
	w.log(record)
	w.around(around)
	at := record.Timestamp()
	if at == 0 { // the source did not know it (data model, 'Field: Timestamp')
		at = record.ObservedTimestamp()
	}
	b.document(w, "", "log", at)
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
