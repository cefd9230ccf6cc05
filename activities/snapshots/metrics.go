package snapshots

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"millrace/internal/snapshot"
)

var (
	// lastSuccess is a time rather than an age: whichever worker took the last
	// one, the largest of them is right.
	lastSuccess = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_snapshot_last_success_timestamp_seconds",
		Help: "Start of the last good snapshot, or of the first attempt if none was good. Take the maximum over all workers.",
	}, []string{"repository"})
	snapshotsTaken = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_snapshots_total",
		Help: "Snapshots by result: success, suspect, partial or failed.",
	}, []string{"result"})
	snapshotSeconds = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_snapshot_duration_seconds",
		Help: "Duration of the last snapshot.",
	}, []string{"repository"})
	indicesRetired = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_retention_indices_deleted_total",
		Help: "Indices that retention deleted whole.",
	})
	documentsTrimmed = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_retention_documents_deleted_total",
		Help: "Documents that retention deleted from yearly and undated indices.",
	})
	indicesUncovered = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_retention_indices_uncovered",
		Help: "Indices that retention keeps because neither a good snapshot nor the backup has them: whole (day), or single documents of them (documents). That of the worker with the latest run counts.",
	}, []string{"of"})
	retentionRun = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_retention_last_run_timestamp_seconds",
		Help: "End of the last run of retention in this worker, which set the number of uncovered indices.",
	}, []string{"of"})
)

func init() {
	for _, result := range []string{"success", "suspect", "partial", "failed"} { // an alarm sees the first of them, too
		snapshotsTaken.WithLabelValues(result)
	}
}

// Values of the label of: what would go.
const (
	wholeIndices   = "day"
	partsOfIndices = "documents"
)

// countUncovered publishes what a run of retention kept.
func countUncovered(of string, indices int) {
	indicesUncovered.WithLabelValues(of).Set(float64(indices))
	retentionRun.WithLabelValues(of).SetToCurrentTime()
}

func countSnapshot(r snapshot.Record) {
	snapshotSeconds.WithLabelValues(r.Repository).Set(r.Ended.Sub(r.Started).Seconds())
	result := map[string]string{snapshot.Success: "success", snapshot.Partial: "partial"}[r.State]
	switch {
	case result == "":
		result = "failed"
	case r.Suspect != "":
		result = "suspect"
	}
	snapshotsTaken.WithLabelValues(result).Inc()
	if r.Good() {
		lastSuccess.WithLabelValues(r.Repository).Set(float64(r.Started.Unix()))
	}
}
