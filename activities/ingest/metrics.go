package ingest

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
)
