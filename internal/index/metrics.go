package index

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	concurrencyLimit = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_index_concurrency_limit",
		Help: "Bulk requests that may be in flight at once.",
	})
	bulkBytesLimit = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_index_bulk_bytes_limit",
		Help: "Largest bulk to build, in bytes.",
	})
	requestsInFlight = byPriority(promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_index_requests_in_flight",
		Help: "Bulk requests that wait for an answer.",
	}, []string{"priority"}))
	requestsWaiting = byPriority(promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_index_requests_waiting",
		Help: "Bulk requests that wait to be sent.",
	}, []string{"priority"}))
	requestSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "millrace_index_request_seconds",
		Help:    "Time that bulk requests took, by the class of the request as a whole.",
		Buckets: prometheus.ExponentialBuckets(0.005, 2, 14), // 5 ms to 41 s, past DefaultTimeout
	}, []string{"class"})
	requestBytes = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_index_request_bytes_total",
		Help: "Bytes of bulk bodies sent.",
	})
	documents = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_index_documents_total",
		Help: "Documents that were answered for, by class; duplicate means indexed earlier.",
	}, []string{"class"})
)

// byPriority looks the gauges up once.
func byPriority(vec *prometheus.GaugeVec) (gauges [priorities]prometheus.Gauge) {
	for p := range priorities {
		gauges[p] = vec.WithLabelValues(p.String())
	}
	return gauges
}

// count publishes the result of a bulk of n documents.
func (r Result) count(n int) {
	requestSeconds.WithLabelValues(r.Class.String()).Observe(r.Took.Seconds())
	requestBytes.Add(float64(r.Bytes))
	if r.Class != Indexed {
		return // of its documents nothing is known
	}
	for _, item := range r.Items {
		if item.Duplicate {
			documents.WithLabelValues("duplicate").Inc()
		} else {
			documents.WithLabelValues(item.Class.String()).Inc()
		}
	}
	documents.WithLabelValues(Indexed.String()).Add(float64(n - len(r.Items)))
}
