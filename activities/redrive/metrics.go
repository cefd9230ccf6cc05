package redrive

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

var (
	redrivenRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_redrive_records_total",
		Help: "Records moved from the fallback queue into the stream.",
	})
	redriveSeconds = promauto.NewHistogram(prometheus.HistogramOpts{
		Name:    "millrace_redrive_seconds",
		Help:    "Time from received_at, the receipt by the collector, to the stream, of every record that came by the fallback queue.",
		Buckets: prometheus.ExponentialBuckets(0.1, 3, 12), // to 5 h
	})
	redriveThrottled = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_redrive_throttled_total",
		Help: "Calls in which the stream rejected some records of the fallback queue.",
	})
	redriveOldest = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_redrive_oldest_seconds",
		Help: "Age of the oldest record that is being redriven, since its collector received it; 0 while the fallback queue is empty. The worker that redrives reports it.",
	}, []string{"queue"})
	redrivePace = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_redrive_pace_records",
		Help: "Limit of records redriven a second; 0 if there is none.",
	})
)

// arrived counts how long the records took that the stream has taken: all but those that
// it rejected.
func arrived(seconds prometheus.Observer, records [][]byte, rejected []stream.Rejection) {
	now, refused := time.Now(), map[int]bool{}
	for _, r := range rejected {
		refused[r.Position] = true
	}
	for i, data := range records {
		if r, err := telemetry.Parse(data); err == nil && !refused[i] {
			seconds.Observe(max(0, now.Sub(r.ReceivedAt).Seconds())) // clocks differ
		}
	}
}
