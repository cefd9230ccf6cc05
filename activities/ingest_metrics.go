package activities

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	replayedBatches = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_ingest_replayed_batches_total",
		Help: "Batches of the collector whose workflow was closed unfinished, and which Reconcile restarted.",
	})
	unreadableRuns = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_ingest_unreadable_runs_total",
		Help: "Workflow runs closed unfinished that Reconcile cannot restart, because their input cannot be read. Each counts every minute for ten minutes.",
	})
	redrivenRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_redrive_records_total",
		Help: "Records moved from the fallback queue into the stream.",
	})
	redriveThrottled = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_redrive_throttled_total",
		Help: "Calls in which the stream rejected some records of the fallback queue.",
	})
	redrivePace = promauto.NewGauge(prometheus.GaugeOpts{
		Name: "millrace_redrive_pace_records",
		Help: "Limit of records redriven a second; 0 if there is none.",
	})
)
