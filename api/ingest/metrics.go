package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	sentRecords = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_ingest_records_total",
		Help: "Records that were made durable, by the way they took: temporal or direct.",
	}, []string{"way"})
	sendSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "millrace_ingest_batch_seconds",
		Help:    "Time to make a batch durable, by the way it took.",
		Buckets: prometheus.ExponentialBuckets(0.001, 2, 14),
	}, []string{"way"})
	startsFailed = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_ingest_starts_failed_total",
		Help: "Batches whose workflow could not be started in time, and which took the direct way.",
	})
	failedRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_ingest_failed_records_total",
		Help: "Records that could be made durable nowhere: their agents were told to come again.",
	})
	shedRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_ingest_shed_records_total",
		Help: "Records that were not taken since too much waited for an answer already.",
	})
	breakerOpen = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_ingest_breaker_open",
		Help: "1 while batches go directly into the stream because Temporal does not start workflows.",
	})
)

func sent(begun time.Time, way string, records int) {
	sentRecords.WithLabelValues(way).Add(float64(records))
	sendSeconds.WithLabelValues(way).Observe(time.Since(begun).Seconds())
}
