package api

import (
	"maps"
	"math"
	"slices"
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/protobuf/encoding/protowire"
)

var metricSignal = signal{
	name: "otlp_metrics", path: "/v1/metrics", service: "opentelemetry.proto.collector.metrics.v1.MetricsService",
	request: metricRequest, count: countPoints, take: (*batch).encodedMetric,
	partial: func(rejected int64, why string, asJSON bool) ([]byte, error) {
		response := pmetricotlp.NewExportResponse()
		response.PartialSuccess().SetRejectedDataPoints(rejected)
		response.PartialSuccess().SetErrorMessage(why)
		if asJSON {
			return response.MarshalJSON()
		}
		return response.MarshalProto()
	},
}

// pointsField is where each kind of data has its points.
const pointsField protowire.Number = 1

// kinds of data that a metric may have, and how the points of each nest.
var kinds = map[protowire.Number]message{
	5:  pointMessage(7, 5),  // gauge
	7:  pointMessage(7, 5),  // sum
	9:  pointMessage(9, 8),  // histogram
	10: pointMessage(1, 11), // exponential histogram
	11: pointMessage(7, 0),  // summary
}

// pointsPath leads from a metric to its data points.
var pointsPath = [][]protowire.Number{slices.Sorted(maps.Keys(kinds)), {pointsField}}

// droppedKinds were data once: of whole numbers alone.
var droppedKinds = []protowire.Number{4, 6, 8}

// countPoints counts the records in a metric: a malformed one is rejected as
// one.
func countPoints(metric []byte) int {
	points, err := countRecords(metric, pointsPath, one)
	if err != nil {
		return 1
	}
	return points
}

// encodedMetric takes or rejects the data points of a metric as they are
// encoded.
func (b *batch) encodedMetric(metric []byte, around surroundings) {
	if _, err := countRecords(metric, pointsPath, one); err != nil {
		b.reject("is " + err.Error())
		return
	}
	if former := (cursor{rest: metric}); former.next(droppedKinds...) {
		b.warn("intGauge, intSum or intHistogram (ignored)")
	}
	for _, kind := range pointsPath[0] {
		for c := (cursor{rest: metric}); c.next(kind); {
			b.encodedPoints(metric, kind, c.message, around)
		}
	}
}

// encodedPoints takes or rejects data points. What they have in common is the
// metric without its data, and the data without its points.
func (b *batch) encodedPoints(metric []byte, kind protowire.Number, data []byte, around surroundings) {
	var of *points
	problem := ""
	for c := (cursor{rest: data}); b.more() && c.next(pointsField); {
		if of == nil && problem == "" {
			of, problem = b.metric(metric, kind, data, around)
		}
		if problem != "" {
			b.reject(problem)
			continue
		}
		request := pmetricotlp.NewExportRequest()
		if b.decoded(c.message, kinds[kind], around, request.UnmarshalProto, resourcesField, scopesField, recordsField, kind, pointsField) {
			_ = of.add(request.Metrics().ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)) // the limit was looked at
		}
	}
}

// metric decodes what the points of a metric have in common, or says why none
// of them can be taken.
func (b *batch) metric(metric []byte, kind protowire.Number, data []byte, around surroundings) (of *points, problem string) {
	common := without(nil, metric, pointsPath[0])
	common = append(common, wrap(nil, without(nil, data, []protowire.Number{pointsField}), kind)...)
	if problem := b.judge(common, metricMessage); problem != "" {
		return nil, "is of a metric that " + problem
	}
	request := pmetricotlp.NewExportRequest()
	if err := request.UnmarshalProto(b.nested(common, resourcesField, scopesField, recordsField)); err != nil {
		return nil, "is of a metric that cannot be decoded: " + err.Error()
	}
	w := &b.draft.writer
	decoded := request.Metrics().ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(0)
	of = &points{b, w, decoded.Name(), metricOf(w, decoded), around}
	b.charge(len(of.metric.members))
	return of, ""
}

// metricOf writes what the data points of a metric have in common.
func metricOf(w *writer, metric pmetric.Metric) fragment {
	w.begin()
	w.text("name", metric.Name())
	w.text("unit", metric.Unit())
	w.text("description", metric.Description())
	w.attributes("metadata", metric.Metadata())
	switch metric.Type() {
	case pmetric.MetricTypeGauge:
		w.text("metric_type", "gauge")
	case pmetric.MetricTypeSum:
		w.text("metric_type", "sum")
		w.temporality(metric.Sum().AggregationTemporality())
		w.name("monotonic")
		w.dst = strconv.AppendBool(w.dst, metric.Sum().IsMonotonic())
	case pmetric.MetricTypeHistogram:
		w.text("metric_type", "histogram")
		w.temporality(metric.Histogram().AggregationTemporality())
	case pmetric.MetricTypeExponentialHistogram:
		w.text("metric_type", "exponential_histogram")
		w.temporality(metric.ExponentialHistogram().AggregationTemporality())
	case pmetric.MetricTypeSummary:
		w.text("metric_type", "summary")
	case pmetric.MetricTypeEmpty:
	}
	return w.end()
}

func (w *writer) temporality(t pmetric.AggregationTemporality) {
	switch t {
	case pmetric.AggregationTemporalityDelta:
		w.text("temporality", "delta")
	case pmetric.AggregationTemporalityCumulative:
		w.text("temporality", "cumulative")
	case pmetric.AggregationTemporalityUnspecified:
	}
}

// points are the data points of a metric on their way.
type points struct {
	batch  *batch
	w      *writer
	name   string // of the metric
	metric fragment
	around surroundings
}

// point is what data points of every type have.
type point interface {
	Attributes() pcommon.Map
	StartTimestamp() pcommon.Timestamp
	Timestamp() pcommon.Timestamp
	Flags() pmetric.DataPointFlags
}

func (p *points) add(metric pmetric.Metric) error {
	switch metric.Type() {
	case pmetric.MetricTypeGauge:
		return p.numbers(metric.Gauge().DataPoints())
	case pmetric.MetricTypeSum:
		return p.numbers(metric.Sum().DataPoints())
	case pmetric.MetricTypeHistogram:
		for _, h := range metric.Histogram().DataPoints().All() {
			if err := p.point(h, func(i *identity) { i.histogram(h) }, func() { p.w.histogram(h) }); err != nil {
				return err
			}
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, h := range metric.ExponentialHistogram().DataPoints().All() {
			if err := p.point(h, func(i *identity) { i.exponentialHistogram(h) }, func() { p.w.exponentialHistogram(h) }); err != nil {
				return err
			}
		}
	case pmetric.MetricTypeSummary:
		for _, s := range metric.Summary().DataPoints().All() {
			if err := p.point(s, func(i *identity) { i.summary(s) }, func() { p.w.summary(s) }); err != nil {
				return err
			}
		}
	case pmetric.MetricTypeEmpty:
	}
	return nil
}

func (p *points) numbers(numbers pmetric.NumberDataPointSlice) error {
	for _, n := range numbers.All() {
		if err := p.point(n, func(i *identity) { i.numberPoint(n) }, func() { p.w.numberPoint(n) }); err != nil {
			return err
		}
	}
	return nil
}

// point takes or rejects one data point.
func (p *points) point(of point, value func(*identity), values func()) error {
	if p.batch.full != nil {
		return p.batch.full
	}
	if problem := p.around.problem(); problem != "" {
		p.batch.reject(problem)
		return nil
	}
	w := p.w
	w.begin()
	w.fragment(p.metric)
	w.time("start_timestamp", of.StartTimestamp())
	w.some("flags", uint32(of.Flags()))
	values()
	w.attributes("attributes", of.Attributes())
	w.around(p.around)
	id := p.batch.draft.identity.point(p.name, of, p.around.resource.service, value)
	p.batch.document(w, id, "metric", of.Timestamp())
	return nil
}

func (w *writer) numberPoint(n pmetric.NumberDataPoint) {
	switch n.ValueType() {
	case pmetric.NumberDataPointValueTypeInt:
		w.integer("value", n.IntValue())
	case pmetric.NumberDataPointValueTypeDouble:
		w.number("value", n.DoubleValue())
	case pmetric.NumberDataPointValueTypeEmpty:
	}
	w.exemplars(n.Exemplars())
}

func (w *writer) histogram(h pmetric.HistogramDataPoint) {
	w.count(h.Count())
	if h.HasSum() {
		w.number("sum", h.Sum())
	}
	if h.HasMin() {
		w.number("min", h.Min())
	}
	if h.HasMax() {
		w.number("max", h.Max())
	}
	w.counts(h.BucketCounts())
	w.numbers("explicit_bounds", h.ExplicitBounds().Len(), func(i int) { w.float(h.ExplicitBounds().At(i)) })
	w.exemplars(h.Exemplars())
}

func (w *writer) exponentialHistogram(h pmetric.ExponentialHistogramDataPoint) {
	w.count(h.Count())
	if h.HasSum() {
		w.number("sum", h.Sum())
	}
	if h.HasMin() {
		w.number("min", h.Min())
	}
	if h.HasMax() {
		w.number("max", h.Max())
	}
	w.integer("scale", int64(h.Scale()))
	w.unsigned("zero_count", h.ZeroCount())
	w.number("zero_threshold", h.ZeroThreshold())
	w.buckets("positive", h.Positive())
	w.buckets("negative", h.Negative())
	w.exemplars(h.Exemplars())
}

// count writes how many values there were, for a field of 64 bits with a sign.
func (w *writer) count(n uint64) {
	name := "count"
	if n > math.MaxInt64 {
		name = original + name
	}
	w.unsigned(name, n)
}

func (w *writer) buckets(name string, buckets pmetric.ExponentialHistogramDataPointBuckets) {
	if buckets.BucketCounts().Len() > 0 {
		w.object(name, func() {
			w.integer("offset", int64(buckets.Offset()))
			w.counts(buckets.BucketCounts())
		})
	}
}

func (w *writer) counts(counts pcommon.UInt64Slice) {
	w.numbers("bucket_counts", counts.Len(), func(i int) { w.dst = strconv.AppendUint(w.dst, counts.At(i), 10) })
}

func (w *writer) summary(s pmetric.SummaryDataPoint) {
	w.count(s.Count())
	w.number("sum", s.Sum())
	w.list("quantiles", s.QuantileValues().Len(), func(i int) {
		w.number("quantile", s.QuantileValues().At(i).Quantile())
		w.number("value", s.QuantileValues().At(i).Value())
	})
}

func (w *writer) exemplars(exemplars pmetric.ExemplarSlice) {
	w.list("exemplars", exemplars.Len(), func(i int) {
		e := exemplars.At(i)
		trace, id := e.TraceID(), e.SpanID()
		w.time("timestamp", e.Timestamp())
		switch e.ValueType() {
		case pmetric.ExemplarValueTypeInt:
			w.integer("value", e.IntValue())
		case pmetric.ExemplarValueTypeDouble:
			w.number("value", e.DoubleValue())
		case pmetric.ExemplarValueTypeEmpty:
		}
		w.hex("trace_id", trace[:])
		w.hex("span_id", id[:])
		w.attributes("attributes", e.FilteredAttributes())
	})
}
