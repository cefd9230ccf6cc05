package ops

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics serves those of the default registry, and the dependencies.
func metrics(checks Checks) http.Handler {
	own := prometheus.NewRegistry()
	own.MustRegister(Dependencies(checks))
	all := promhttp.HandlerFor(prometheus.Gatherers{prometheus.DefaultGatherer, own}, promhttp.HandlerOpts{})
	return promhttp.InstrumentMetricHandler(prometheus.DefaultRegisterer, all)
}

var descMissing = prometheus.NewDesc("millrace_dependency_missing",
	"1 while /readyz names the dependency as missing or degraded. Each scrape asks it.", []string{"dependency"}, nil)

// Dependencies is /readyz as a metric, so that an alert needs nothing else that asks for it.
type Dependencies Checks

// Describe implements prometheus.Collector.
func (d Dependencies) Describe(to chan<- *prometheus.Desc) { to <- descMissing }

// Collect implements prometheus.Collector.
func (d Dependencies) Collect(to chan<- prometheus.Metric) {
	missing := Checks(d).readiness(context.Background())
	for _, checks := range []map[string]Check{d.Required, d.OneOf, d.Optional} {
		for name := range checks {
			value := 0.0
			if missing.Missing[name] != "" || missing.Degraded[name] != "" {
				value = 1
			}
			to <- prometheus.MustNewConstMetric(descMissing, prometheus.GaugeValue, value, name)
		}
	}
}
