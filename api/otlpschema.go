package api

import (
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// jsonMessage is a protobuf message as its JSON form spells it.
type jsonMessage struct {
	name   string
	fields map[string]*jsonField // by both names of each: startTimeUnixNano, start_time_unix_nano
	// common is the field of what the records in the message have in common,
	// where it holds records: what is wrong beside them is written there.
	common protowire.Number
	leads  bool // to records
}

// jsonField is a field of a jsonMessage.
type jsonField struct {
	name     string // as ProtoJSON has it
	number   protowire.Number
	kind     protoreflect.Kind
	list     bool
	of       *jsonMessage // of a message
	enum     protoreflect.EnumValueDescriptors
	idSize   int  // of bytes in hexadecimal, which OTLP's ids are
	anyValue bool // null is a value
	record   bool // each message is a record, and judged alone
	dropped  bool // OTLP has this name no longer
	today    string
}

// field finds a field by its name as it is written.
func (m *jsonMessage) field(name []byte) *jsonField {
	if f := m.fields[string(name)]; f != nil {
		return f
	}
	return m.fields[string(unquote(name))]
}

// leads reports whether the field leads to records.
func (f *jsonField) leads() bool { return f.record || f.of != nil && f.of.leads }

// The requests of the three signals: a request is encoded as its data is.
var (
	traceRequest  = jsonSchema.message((*tracepb.TracesData)(nil).ProtoReflect().Descriptor())
	logRequest    = jsonSchema.message((*logspb.LogsData)(nil).ProtoReflect().Descriptor())
	metricRequest = jsonSchema.message((*metricspb.MetricsData)(nil).ProtoReflect().Descriptor())
)

var jsonSchema = schema{}

// schema holds the messages that were read from opentelemetry-proto.
type schema map[protoreflect.FullName]*jsonMessage

var (
	// recordFields hold records, by the message that they stand in.
	recordFields = map[protoreflect.Name]protoreflect.Name{
		"ScopeSpans": "spans", "ScopeLogs": "log_records", "Gauge": "data_points", "Sum": "data_points", "Histogram": "data_points",
		"ExponentialHistogram": "data_points", "Summary": "data_points",
	}
	// commonFields are where the messages around them have what is common.
	commonFields = map[protoreflect.Name]protowire.Number{
		"ResourceSpans": commonField, "ResourceLogs": commonField, "ResourceMetrics": commonField,
		"ScopeSpans": commonField, "ScopeLogs": commonField, "ScopeMetrics": commonField, "Metric": 12, // metadata

	}
	idSizes      = map[protoreflect.Name]int{"trace_id": 16, "span_id": 8, "parent_span_id": 8}
	anyValueName = (*commonpb.AnyValue)(nil).ProtoReflect().Descriptor().FullName()
)

// droppedNames are names that OTLP once had, by the message they stood in, with
// what holds the same today, if anything does.
var droppedNames = map[protoreflect.Name]map[string]string{
	"ResourceSpans":   {"instrumentationLibrarySpans": "scopeSpans", "instrumentation_library_spans": "scopeSpans"},
	"ResourceLogs":    {"instrumentationLibraryLogs": "scopeLogs", "instrumentation_library_logs": "scopeLogs"},
	"ResourceMetrics": {"instrumentationLibraryMetrics": "scopeMetrics", "instrumentation_library_metrics": "scopeMetrics"},
	"ScopeSpans":      {"instrumentationLibrary": "scope", "instrumentation_library": "scope"},
	"ScopeLogs":       {"instrumentationLibrary": "scope", "instrumentation_library": "scope", "logs": "logRecords"},
	"ScopeMetrics":    {"instrumentationLibrary": "scope", "instrumentation_library": "scope"},
	"Metric": {
		"intGauge": "", "int_gauge": "", "intSum": "", "int_sum": "", "intHistogram": "", "int_histogram": "",
		"doubleGauge": "", "doubleSum": "", "doubleHistogram": "", "doubleSummary": "",
	},
	"LogRecord":                     {"name": ""},
	"Status":                        {"deprecatedCode": "", "deprecated_code": ""},
	"NumberDataPoint":               {"labels": ""},
	"HistogramDataPoint":            {"labels": ""},
	"ExponentialHistogramDataPoint": {"labels": ""},
	"SummaryDataPoint":              {"labels": ""},
	"Exemplar":                      {"filteredLabels": "", "filtered_labels": ""},
}

// message reads a message, and those in it.
func (s schema) message(d protoreflect.MessageDescriptor) *jsonMessage {
	if known := s[d.FullName()]; known != nil {
		return known
	}
	m := &jsonMessage{name: string(d.Name()), fields: make(map[string]*jsonField), common: commonFields[d.Name()]}
	s[d.FullName()] = m // before its fields: values nest
	for i := range d.Fields().Len() {
		of := d.Fields().Get(i)
		f := &jsonField{
			name: of.JSONName(), number: of.Number(), kind: of.Kind(), list: of.IsList(),
			idSize: idSizes[of.Name()], record: recordFields[d.Name()] == of.Name(),
		}
		switch of.Kind() {
		case protoreflect.MessageKind:
			f.of, f.anyValue = s.message(of.Message()), of.Message().FullName() == anyValueName
		case protoreflect.EnumKind:
			f.enum = of.Enum().Values()
		}
		m.leads = m.leads || f.leads()
		m.fields[of.JSONName()], m.fields[string(of.Name())] = f, f
	}
	for name, instead := range droppedNames[d.Name()] {
		f := &jsonField{name: name, dropped: true}
		if today := m.fields[instead]; today != nil {
			*f = *today
			f.name, f.dropped, f.today = name, true, instead
		}
		m.fields[name] = f
	}
	return m
}
