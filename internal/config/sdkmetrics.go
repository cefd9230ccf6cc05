package config

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/attribute"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/exemplar"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/opentelemetry"
)

// maxSDKSeries bounds the series of one metric of the SDK in this process. Those beyond it count in one with the label
// otel_metric_overflow. We need about 200; who may start workflows in the namespace can invent names of their types.
const maxSDKSeries = 1000

// sdkLabels are the labels of the SDK's metrics: https://docs.temporal.io/references/sdk-metrics. None other is exported,
// so a later version of the SDK, too, cannot publish the id of a workflow.
var sdkLabels = attribute.NewAllowKeysFilter(
	"namespace", "client_name", "worker_type", "poller_type", "task_queue", "workflow_type", "activity_type", "operation",
	"status_code", "failure_reason", "cause",
)

// sdkLatencies are the bounds of its histograms in seconds: from a local call to a batch that waits for a worker.
var sdkLatencies = []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 60, 120, 300, 600}

// sdkMetrics is where the Temporal clients of this process report the SDK's metrics: at /metrics, beside ours. An
// exporter can be registered only once.
var sdkMetrics = sync.OnceValues(func() (client.MetricsHandler, error) { return newSDKMetrics(prometheus.DefaultRegisterer) })

func newSDKMetrics(registerer prometheus.Registerer) (client.MetricsHandler, error) {
	reader, err := exporter.New(exporter.WithRegisterer(registerer), exporter.WithoutScopeInfo(), exporter.WithoutTargetInfo(),
		exporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithoutSuffixes)) // sdkView names them
	if err != nil {
		return nil, fmt.Errorf("register the metrics of the Temporal SDK: %w", err)
	}
	provider := metric.NewMeterProvider(
		metric.WithReader(reader), metric.WithView(sdkView), metric.WithCardinalityLimit(maxSDKSeries),
		metric.WithExemplarFilter(exemplar.AlwaysOffFilter),
	)
	return opentelemetry.NewMetricsHandler(opentelemetry.MetricsHandlerOptions{
		Meter:                provider.Meter("temporal-sdk-go"),
		UseMonotonicCounters: true, // else they would be gauges
		OnError:              func(err error) { slog.Error("cannot count for the Temporal SDK", "error", err) },
	}), nil
}

// sdkView is how each metric of the SDK is kept. Its name is the documented one with the suffix that Temporal's
// dashboards for Go expect. The exporter's own rule would make temporal_sticky_cache_forced_eviction_total of
// temporal_sticky_cache_total_forced_eviction.
func sdkView(i metric.Instrument) (metric.Stream, bool) {
	stream := metric.Stream{Name: i.Name, AttributeFilter: sdkLabels}
	switch i.Kind {
	case metric.InstrumentKindCounter:
		stream.Name = strings.TrimSuffix(i.Name, "_total") + "_total"
	case metric.InstrumentKindHistogram:
		stream.Name += "_seconds"
		stream.Aggregation = metric.AggregationExplicitBucketHistogram{Boundaries: sdkLatencies, NoMinMax: true}
	}
	return stream, true
}
