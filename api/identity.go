package api

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/ptrace"
)

// identity is what makes a span or a data point the one that it is, in one
// canonical form: parts, each with its length before it in eight bytes. It is
// the same in JSON and protobuf and in any order of attributes, and what a
// gateway adds changes nothing. An id is a hash of it, so the form must never
// change: TestIdentitiesNeverChange holds it.
type identity struct{ parts []byte }

// begin begins an identity of a kind in the memory of the one before.
func (i *identity) begin(kind string) {
	i.parts = i.parts[:0]
	i.text(kind)
}

func (i *identity) text(part string) {
	i.parts = binary.BigEndian.AppendUint64(i.parts, uint64(len(part)))
	i.parts = append(i.parts, part...)
}

func (i *identity) number(part uint64) {
	const size = 8
	i.parts = binary.BigEndian.AppendUint64(i.parts, size)
	i.parts = binary.BigEndian.AppendUint64(i.parts, part)
}

// float is a part for a number. There are many NaN, which are one.
func (i *identity) float(part float64) {
	if math.IsNaN(part) {
		part = math.NaN()
	}
	i.number(math.Float64bits(part))
}

// maybe is a part for a number that may be missing.
func (i *identity) maybe(has bool, part float64) {
	if !has {
		i.text("")
		return
	}
	i.float(part)
}

// hash returns so many bytes of the hash in hexadecimal.
func (i *identity) hash(size int) string {
	sum := sha256.Sum256(i.parts)
	return hex.EncodeToString(sum[:size])
}

// span is the record id of a span: its trace's id, its own, and a hash, since
// client and server share both where Zipkin's headers are used, forked processes
// draw the same ones, and a span may be exported when it begins and again when it
// has ended. A span without them has no identity.
func (i *identity) span(span ptrace.Span, service string) string {
	trace, id, parent := span.TraceID(), span.SpanID(), span.ParentSpanID()
	if trace.IsEmpty() || id.IsEmpty() {
		return ""
	}
	i.begin("span")
	i.text(string(trace[:]))
	i.text(string(id[:]))
	i.text(string(parent[:]))
	i.number(uint64(span.Kind()))
	i.text(span.Name())
	i.number(uint64(span.StartTimestamp()))
	i.number(uint64(span.EndTimestamp()))
	i.text(service)
	const size = 8 // beside the ids
	return hex.EncodeToString(trace[:]) + "-" + hex.EncodeToString(id[:]) + "-" + i.hash(size)
}

// point is the record id of a data point: a hash. One without a time has no
// identity: the same value later is another point.
func (i *identity) point(name string, of point, service string, value func(*identity)) string {
	if of.Timestamp() == 0 {
		return ""
	}
	i.begin("point")
	i.text(name)
	i.number(uint64(of.StartTimestamp()))
	i.number(uint64(of.Timestamp()))
	i.text(service)
	i.attributes(of.Attributes())
	value(i)
	const size = 16
	return i.hash(size)
}

// attributes are in order of their keys.
func (i *identity) attributes(of pcommon.Map) {
	type entry struct {
		key   string
		value pcommon.Value
	}
	entries := make([]entry, 0, of.Len())
	for key, value := range of.All() {
		entries = append(entries, entry{key, value})
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return cmp.Compare(a.key, b.key) })
	i.number(uint64(len(entries)))
	for _, e := range entries {
		i.text(e.key)
		i.value(e.value)
	}
}

// value is a value behind the name of its type.
func (i *identity) value(of pcommon.Value) {
	i.text(of.Type().String())
	switch of.Type() {
	case pcommon.ValueTypeStr:
		i.text(of.Str())
	case pcommon.ValueTypeInt:
		i.number(uint64(of.Int()))
	case pcommon.ValueTypeDouble:
		i.float(of.Double())
	case pcommon.ValueTypeBool:
		i.text(of.AsString())
	case pcommon.ValueTypeBytes:
		i.text(string(of.Bytes().AsRaw()))
	case pcommon.ValueTypeMap:
		i.attributes(of.Map())
	case pcommon.ValueTypeSlice:
		i.number(uint64(of.Slice().Len()))
		for _, element := range of.Slice().All() {
			i.value(element)
		}
	case pcommon.ValueTypeEmpty:
	}
}

func (i *identity) numberPoint(n pmetric.NumberDataPoint) {
	i.text(n.ValueType().String())
	switch n.ValueType() {
	case pmetric.NumberDataPointValueTypeInt:
		i.number(uint64(n.IntValue()))
	case pmetric.NumberDataPointValueTypeDouble:
		i.float(n.DoubleValue())
	case pmetric.NumberDataPointValueTypeEmpty:
	}
}

func (i *identity) histogram(h pmetric.HistogramDataPoint) {
	i.text("Histogram")
	i.number(h.Count())
	i.maybe(h.HasSum(), h.Sum())
	i.maybe(h.HasMin(), h.Min())
	i.maybe(h.HasMax(), h.Max())
	i.counts(h.BucketCounts())
	i.number(uint64(h.ExplicitBounds().Len()))
	for _, bound := range h.ExplicitBounds().All() {
		i.float(bound)
	}
}

func (i *identity) exponentialHistogram(h pmetric.ExponentialHistogramDataPoint) {
	i.text("ExponentialHistogram")
	i.number(h.Count())
	i.maybe(h.HasSum(), h.Sum())
	i.maybe(h.HasMin(), h.Min())
	i.maybe(h.HasMax(), h.Max())
	i.number(uint64(h.Scale()))
	i.number(h.ZeroCount())
	i.float(h.ZeroThreshold())
	i.number(uint64(h.Positive().Offset()))
	i.counts(h.Positive().BucketCounts())
	i.number(uint64(h.Negative().Offset()))
	i.counts(h.Negative().BucketCounts())
}

func (i *identity) summary(s pmetric.SummaryDataPoint) {
	i.text("Summary")
	i.number(s.Count())
	i.float(s.Sum())
	i.number(uint64(s.QuantileValues().Len()))
	for _, q := range s.QuantileValues().All() {
		i.float(q.Quantile())
		i.float(q.Value())
	}
}

func (i *identity) counts(of pcommon.UInt64Slice) {
	i.number(uint64(of.Len()))
	for _, count := range of.All() {
		i.number(count)
	}
}
