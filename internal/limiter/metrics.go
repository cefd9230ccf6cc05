package limiter

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var concurrencyLimit = promauto.NewGauge(prometheus.GaugeOpts{
	Name: "millrace_index_concurrency_limit",
	Help: "Present limit of bulk requests in flight: how far the worker has backed off.",
})

var bulkBytesLimit = promauto.NewGauge(prometheus.GaugeOpts{
	Name: "millrace_index_bulk_bytes_limit",
	Help: "Present limit of a bulk request in bytes: how far the worker has backed off.",
})

var requestsInFlight = byPriority(promauto.NewGaugeVec(prometheus.GaugeOpts{
	Name: "millrace_index_requests_in_flight",
	Help: "Bulk requests in flight.",
}, []string{"priority"}))

var requestsWaiting = byPriority(promauto.NewGaugeVec(prometheus.GaugeOpts{
	Name: "millrace_index_requests_waiting",
	Help: "Bulk requests that wait for their turn. Above 0, Elasticsearch is the limit.",
}, []string{"priority"}))

// byPriority looks the gauges up once.
func byPriority(vec *prometheus.GaugeVec) (gauges [priorities]prometheus.Gauge) {
	for p := range priorities {
		gauges[p] = vec.WithLabelValues(p.String())
	}
	return gauges
}
