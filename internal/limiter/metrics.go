package limiter

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var concurrencyLimit = promauto.NewGauge(prometheus.GaugeOpts{
	Name: "millrace_index_concurrency_limit",
	Help: "Bulk requests that may be in flight at once.",
})

var bulkBytesLimit = promauto.NewGauge(prometheus.GaugeOpts{
	Name: "millrace_index_bulk_bytes_limit",
	Help: "Largest bulk to build, in bytes.",
})

var requestsInFlight = byPriority(promauto.NewGaugeVec(prometheus.GaugeOpts{
	Name: "millrace_index_requests_in_flight",
	Help: "Bulk requests that wait for an answer.",
}, []string{"priority"}))

var requestsWaiting = byPriority(promauto.NewGaugeVec(prometheus.GaugeOpts{
	Name: "millrace_index_requests_waiting",
	Help: "Bulk requests that wait to be sent.",
}, []string{"priority"}))

// byPriority looks the gauges up once.
func byPriority(vec *prometheus.GaugeVec) (gauges [priorities]prometheus.Gauge) {
	for p := range priorities {
		gauges[p] = vec.WithLabelValues(p.String())
	}
	return gauges
}
