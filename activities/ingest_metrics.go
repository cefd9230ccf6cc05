package activities

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	replayedBatches = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_ingest_replayed_batches_total",
		Help: "Batches of the collector whose workflow was closed unfinished, and that were replayed.",
	})
	unreadableRuns = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_ingest_unreadable_runs_total",
		Help: "Runs that were closed unfinished and can never be started again, since their input cannot be read. Each counts every minute for ten minutes.",
	})
	redrivenRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_redrive_records_total",
		Help: "Records of the fallback queue that the stream has taken.",
	})
	redriveThrottled = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_redrive_throttled_total",
		Help: "Calls in which the stream did not take all that was to be redriven.",
	})
	redrivePace = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_redrive_pace_records",
		Help: "Records a second that are redriven at most; 0 while there is no bound.",
	})
)
