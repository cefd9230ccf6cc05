package api

import (
	"strconv"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/pmetric"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
)

var metricSignal = signal{
	name: "otlp_metrics", path: "/v1/metrics", service: "opentelemetry.proto.collector.metrics.v1.MetricsService",
	message: metricMessage, read: readMetrics,
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

// readMetrics makes a record of each data point.
func readMetrics(b *batch, asJSON bool) error {
	request := pmetricotlp.NewExportRequest()
	decode := request.UnmarshalProto
	if asJSON {
		decode = request.UnmarshalJSON
	}
	if err := decode(b.request); err != nil {
		return undecodable("metrics", err)
	}
	w := &b.draft.writer
	for _, resource := range request.Metrics().ResourceMetrics().All() {
		resourceMembers := resourceOf(w, resource.Resource(), resource.SchemaUrl())
		for _, scope := range resource.ScopeMetrics().All() {
			scopeMembers := scopeOf(w, scope.Scope(), scope.SchemaUrl())
			for _, metric := range scope.Metrics().All() {
				points := &points{b, w, []fragment{metricOf(w, metric), resourceMembers, scopeMembers}}
				if err := points.take(metric); err != nil {
					return err
				}
			}
		}
	}
	return nil
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
	common []fragment
}

// point is what data points of every type have.
type point interface {
	Attributes() pcommon.Map
	StartTimestamp() pcommon.Timestamp
	Timestamp() pcommon.Timestamp
	Flags() pmetric.DataPointFlags
}

func (p *points) take(metric pmetric.Metric) error {
	switch metric.Type() {
	case pmetric.MetricTypeGauge:
		return p.numbers(metric.Gauge().DataPoints())
	case pmetric.MetricTypeSum:
		return p.numbers(metric.Sum().DataPoints())
	case pmetric.MetricTypeHistogram:
		for _, h := range metric.Histogram().DataPoints().All() {
			if err := p.point(h, func() { p.w.histogram(h) }); err != nil {
				return err
			}
		}
	case pmetric.MetricTypeExponentialHistogram:
		for _, h := range metric.ExponentialHistogram().DataPoints().All() {
			if err := p.point(h, func() { p.w.exponentialHistogram(h) }); err != nil {
				return err
			}
		}
	case pmetric.MetricTypeSummary:
		for _, s := range metric.Summary().DataPoints().All() {
			if err := p.point(s, func() { p.w.summary(s) }); err != nil {
				return err
			}
		}
	case pmetric.MetricTypeEmpty:
	}
	return nil
}

func (p *points) numbers(numbers pmetric.NumberDataPointSlice) error {
	for _, n := range numbers.All() {
		err := p.point(n, func() {
			switch n.ValueType() {
			case pmetric.NumberDataPointValueTypeInt:
				p.w.integer("value", n.IntValue())
			case pmetric.NumberDataPointValueTypeDouble:
				p.w.number("value", n.DoubleValue())
			case pmetric.NumberDataPointValueTypeEmpty:
			}
			p.w.exemplars(n.Exemplars())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// point takes or rejects one data point.
func (p *points) point(of point, values func()) error {
	if err := p.batch.admit(); err != nil {
		return err
	}
	w := p.w
	w.begin()
	w.fragment(p.common[0])
	w.time("start_timestamp", of.StartTimestamp())
	w.some("flags", uint32(of.Flags()))
	values()
	w.attributes("attributes", of.Attributes())
	for _, f := range p.common[1:] {
		w.fragment(f)
	}
	p.batch.document(w, "", "metric", of.Timestamp())
	return nil
}

func (w *writer) histogram(h pmetric.HistogramDataPoint) {
	w.unsigned("count", h.Count())
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
	w.unsigned("count", h.Count())
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
	w.unsigned("count", s.Count())
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
