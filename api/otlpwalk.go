package api

import (
	"errors"
	"fmt"
	"slices"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/protobuf/encoding/protowire"
)

// A request is not decoded as a whole: pdata would allocate for every
// record in it, however many they are (an empty one takes two bytes of the
// body and 200 of memory), and would give up all of them for one that is
// wrong. The request is walked instead, which allocates nothing, and every
// resource, scope and record is decoded alone, after it was judged.

// Fields of opentelemetry-proto that hold what stands around the records. The
// three signals number them alike.
const (
	resourcesField    protowire.Number = 1 // of the request: ResourceSpans, ResourceLogs, ResourceMetrics
	scopesField       protowire.Number = 2 // of those: ScopeSpans, …
	formerScopesField protowire.Number = 1000
	recordsField      protowire.Number = 2 // of those: Span, LogRecord, Metric
	commonField       protowire.Number = 1 // the Resource, the InstrumentationScope
	schemaField       protowire.Number = 3
)

// framePath leads from a request to its spans, log records or metrics.
var framePath = [][]protowire.Number{{resourcesField}, {scopesField, formerScopesField}, {recordsField}}

// walk calls take with the span, log record or metric at each place of a
// request, as it is encoded, and with what stands around it. Records beyond
// the limit are counted, and left out undecoded. An error means that the
// messages around the records are wrong, and that no record was taken.
func (b *batch) walk(request []byte, count func(record []byte) int, take func(b *batch, record []byte, around surroundings)) error {
	total, err := countRecords(request, framePath, count)
	if err != nil {
		return err
	}
	for resources := (cursor{rest: request}); resources.next(resourcesField); {
		if former := (cursor{rest: resources.message}); former.next(formerScopesField) {
			b.warn("field 1000 (taken as scopes)")
		}
		var around surroundings // written once a record needs them: a resource without records costs nothing
		for scopes := (cursor{rest: resources.message}); scopes.next(framePath[1]...); {
			around.scope = nil
			for records := (cursor{rest: scopes.message}); b.more() && records.next(recordsField); {
				if around.resource == nil {
					around.resource = b.resource(resources.message)
				}
				if around.scope == nil {
					around.scope = b.scope(scopes.message)
				}
				take(b, records.message, around)
			}
		}
	}
	if errors.Is(b.full, errNoRoom) {
		return b.full
	}
	b.leaveOut(total - b.position)
	return nil
}

// one counts a record that holds no others.
func one([]byte) int { return 1 }

// countRecords counts what a path of fields leads to, and checks the messages
// on the way.
func countRecords(in []byte, path [][]protowire.Number, count func([]byte) int) (int, error) {
	if len(path) == 0 {
		return count(in), nil
	}
	total := 0
	c := cursor{rest: in}
	for c.next(path[0]...) {
		found, err := countRecords(c.message, path[1:], count)
		if err != nil {
			return 0, err
		}
		total += found
	}
	return total, c.err
}

// cursor walks the fields of a message. It copies and allocates nothing.
type cursor struct {
	rest    []byte
	field   []byte // as it is encoded, with its tag
	message []byte // what a field holds that next was asked for
	err     error
}

// next comes to the next of some fields that hold messages or text.
func (c *cursor) next(fields ...protowire.Number) bool {
	for {
		number, kind, ok := c.any()
		switch {
		case !ok:
			return false
		case !slices.Contains(fields, number):
		case kind != protowire.BytesType:
			c.err = errProtobuf
			return false
		default:
			return true
		}
	}
}

// any comes to the next field. There is none at the end, and where the message
// is malformed.
func (c *cursor) any() (number protowire.Number, kind protowire.Type, ok bool) {
	if len(c.rest) == 0 || c.err != nil {
		return 0, 0, false
	}
	number, kind, tag := protowire.ConsumeTag(c.rest)
	if tag < 0 {
		c.err = errProtobuf
		if why, ok := faultOf(c.rest); ok {
			c.err = errValue{why}
		}
		return 0, 0, false
	}
	size := protowire.ConsumeFieldValue(number, kind, c.rest[tag:])
	if size < 0 {
		c.err = errProtobuf
		return 0, 0, false
	}
	c.field, c.rest = c.rest[:tag+size], c.rest[tag+size:]
	c.message = nil
	if kind == protowire.BytesType {
		c.message, _ = protowire.ConsumeBytes(c.field[tag:])
	}
	return number, kind, true
}

// without appends a message but for some of its fields.
func without(dst, in []byte, left []protowire.Number) []byte {
	c := cursor{rest: in}
	for {
		number, _, ok := c.any()
		if !ok {
			return dst
		}
		if !slices.Contains(left, number) {
			dst = append(dst, c.field...)
		}
	}
}

// merged returns a message that is there once. Where it is there more often,
// its parts count together (protobuf's 'Last One Wins').
func merged(in []byte, field protowire.Number) []byte {
	c := cursor{rest: in}
	if !c.next(field) {
		return nil
	}
	first := c.message
	if !c.next(field) {
		return first
	}
	all := append(slices.Clone(first), c.message...)
	for c.next(field) {
		all = append(all, c.message...)
	}
	return all
}

// wrap appends a message that has so many others around it: pdata decodes
// requests alone. The path is that of the fields, outermost first.
func wrap(dst, message []byte, path ...protowire.Number) []byte {
	const most = 8
	var sizes [most]int
	size := len(message)
	for i, field := range slices.Backward(path) {
		sizes[i] = size
		size += protowire.SizeTag(field) + protowire.SizeVarint(uint64(size))
	}
	for i, field := range path {
		dst = protowire.AppendTag(dst, field, protowire.BytesType)
		dst = protowire.AppendVarint(dst, uint64(sizes[i]))
	}
	return append(dst, message...)
}

// nested wraps a message in memory that the next one uses again. What is
// decoded from it keeps none of it.
func (b *batch) nested(message []byte, path ...protowire.Number) []byte {
	b.draft.nested = wrap(b.draft.nested[:0], message, path...)
	return b.draft.nested
}

// surroundings are what the records of a scope have in common.
type surroundings struct{ resource, scope *commonPart }

// problem says why no record with these surroundings can be taken.
func (s surroundings) problem() string {
	if s.resource.problem != "" {
		return s.resource.problem
	}
	return s.scope.problem
}

// around writes what surrounds a record.
func (w *writer) around(s surroundings) {
	w.fragment(s.resource.fragment)
	w.fragment(s.scope.fragment)
}

// commonPart is a resource or a scope, or why it is none.
type commonPart struct {
	fragment
	service string // service.name of a resource
	problem string
}

// resource decodes what the records of a resource have in common.
func (b *batch) resource(in []byte) *commonPart {
	return b.common("resource", in, resourceMessage, func(w *writer, request ptraceotlp.ExportRequest, schema string) fragment {
		return resourceOf(w, request.Traces().ResourceSpans().At(0).Resource(), schema)
	}, resourcesField, commonField)
}

// scope decodes what the records of a scope have in common.
func (b *batch) scope(in []byte) *commonPart {
	return b.common("scope", in, scopeMessage, func(w *writer, request ptraceotlp.ExportRequest, schema string) fragment {
		return scopeOf(w, request.Traces().ResourceSpans().At(0).ScopeSpans().At(0).Scope(), schema)
	}, resourcesField, scopesField, commonField)
}

// common decodes a resource or scope, which the three signals encode alike.
func (b *batch) common(name string, in []byte, m message, write func(*writer, ptraceotlp.ExportRequest, string) fragment, path ...protowire.Number) *commonPart {
	encoded := merged(in, commonField)
	if problem := b.judge(encoded, m); problem != "" {
		return &commonPart{problem: "has a " + name + " that " + problem}
	}
	request := ptraceotlp.NewExportRequest()
	if err := request.UnmarshalProto(b.nested(encoded, path...)); err != nil {
		return &commonPart{problem: fmt.Sprintf("has a %s that cannot be decoded: %v", name, err)}
	}
	var schema []byte
	for c := (cursor{rest: in}); c.next(schemaField); {
		schema = c.message
	}
	part := b.part(name, write(&b.draft.writer, request, string(schema)))
	if service, ok := request.Traces().ResourceSpans().At(0).Resource().Attributes().Get("service.name"); ok {
		part.service = service.AsString()
	}
	return part
}

// part counts what was written of a resource or a scope, and refuses what no
// record can hold.
func (b *batch) part(name string, written fragment) *commonPart {
	part := &commonPart{fragment: written}
	b.charge(len(written.members))
	if size := len(part.members); size > b.limits.RecordBytes {
		part.problem = fmt.Sprintf("has a %s of %d bytes, more than the %d of a record", name, size, b.limits.RecordBytes)
		part.members = nil
	}
	return part
}

// judge says why a message is not to be decoded: it is malformed, or would
// take too much memory.
func (b *batch) judge(encoded []byte, m message) (problem string) {
	// What is encoded here in more bytes than a record may have is hardly ever
	// shorter as JSON, and may take eight times as much when it is decoded.
	if len(encoded) > b.limits.RecordBytes {
		return fmt.Sprintf("is encoded in %d bytes, more than %d", len(encoded), b.limits.RecordBytes)
	}
	values, err := weigh(encoded, m, maxMessageDepth)
	if wrong, ok := errors.AsType[errValue](err); ok {
		return "cannot be read: " + wrong.what
	}
	if err != nil {
		return "is " + err.Error()
	}
	if values > b.limits.Values {
		return fmt.Sprintf("has %d values, more than %d", values, b.limits.Values)
	}
	return ""
}

// decoded judges one record and decodes it, or rejects it. A record's decode
// function is a request's.
func (b *batch) decoded(record []byte, m message, around surroundings, decode func([]byte) error, path ...protowire.Number) bool {
	problem := around.problem()
	if problem == "" {
		problem = b.judge(record, m)
	}
	if problem == "" {
		if err := decode(b.nested(record, path...)); err != nil {
			problem = "cannot be decoded: " + err.Error()
		}
	}
	if problem != "" {
		b.reject(problem)
	}
	return problem == ""
}
