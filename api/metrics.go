package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// No metric says anything of a tenant: who may scrape is not who may know
// the customers.
var (
	requestSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "millrace_api_request_seconds",
		Help:    "Time from the head of a request to its answer, by protocol and HTTP status (for gRPC, the status it maps to).",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"protocol", "status"})
	requestBytes = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_api_request_bytes_total",
		Help: "Bytes of request bodies, after decompression.",
	}, []string{"protocol"})
	recordCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_api_records_total",
		Help: "Records of requests by result: accepted; rejected as bad; throttled by the tenant's quota; unavailable, if they could not be made durable; unread, if the request was rejected as a whole: those before its fault.",
	}, []string{"protocol", "result"})
	throttledRequests = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_api_throttled_requests_total",
		Help: "Requests answered 429, by the exhausted quota: records or bytes.",
	}, []string{"protocol", "quota"})
	recordTimes = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_api_record_times_total",
		Help: "Accepted records, by their own timestamp: usable, missing, unreadable, out_of_bounds, or ahead. Only a usable one becomes @timestamp.",
	}, []string{"time"})
	droppedCount = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_api_dropped_names_total",
		Help: "Requests with names or fields that OpenTelemetry has removed: update their agents.",
	}, []string{"protocol"})
	regionInfo = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_api_region",
		Help: "1 for the region that the collector writes into each record.",
	}, []string{"region"})
	keyFileBroken = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_api_key_file_broken",
		Help: "1 while the key file cannot be read, and the keys read before apply.",
	})
)

func countRequest(protocol string, status int, began time.Time) {
	requestSeconds.WithLabelValues(protocol, strconv.Itoa(status)).Observe(time.Since(began).Seconds())
}

// What became of the records of a request.
const (
	accepted    = "accepted"
	rejected    = "rejected" // beside those that were accepted, or where none was good
	throttled   = "throttled"
	unavailable = "unavailable"
	unread      = "unread"
)

// count enters what became of a request's records. Where nothing was taken, the
// agent comes again with all of them, and the bad ones are counted then.
func (b *batch) count(protocol, result string) {
	requestBytes.WithLabelValues(protocol).Add(float64(len(b.request)))
	if len(b.warnings) > 0 {
		droppedCount.WithLabelValues(protocol).Inc()
	}
	if result != accepted {
		recordCount.WithLabelValues(protocol, result).Add(float64(b.position))
		return
	}
	recordCount.WithLabelValues(protocol, accepted).Add(float64(len(b.records)))
	recordCount.WithLabelValues(protocol, rejected).Add(float64(len(b.rejected) + b.leftOut))
	for kind, n := range b.times {
		if n > 0 {
			recordTimes.WithLabelValues(timeKind(kind).String()).Add(float64(n))
		}
	}
}
