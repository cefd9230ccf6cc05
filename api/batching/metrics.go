package batching

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	sentRecords = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_ingest_records_total",
		Help: "Records made durable, by path: temporal or direct.",
	}, []string{"way"})
	sendSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "millrace_ingest_batch_seconds",
		Help:    "Time to make a batch durable, by path: temporal or direct.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	}, []string{"way"})
	concurrencyLimit = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_ingest_concurrency_limit",
		Help: "Batches that may be in flight at once, by how long they take; at most --ingest-in-flight.",
	})
	startsFailed = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_ingest_starts_failed_total",
		Help: "Batches that took the direct path because their workflow did not start in time.",
	})
	failedRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_ingest_failed_records_total",
		Help: "Records that no path made durable; their agents must retry.",
	})
	shedRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_ingest_shed_records_total",
		Help: "Records not accepted because too many bytes waited for an answer (--ingest-pending-bytes); their agents must retry.",
	})
	breakerOpen = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_ingest_breaker_open",
		Help: "1 while batches take the direct path because Temporal starts no workflows.",
	})
)

func sent(begun time.Time, way string, records int) {
	sentRecords.WithLabelValues(way).Add(float64(records))
	sendSeconds.WithLabelValues(way).Observe(time.Since(begun).Seconds())
}
