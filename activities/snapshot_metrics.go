package activities

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
		Help: "When the last good snapshot was begun, or the first was tried where there never was a good one.",
	}, []string{"repository"})
	snapshotsTaken = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_snapshots_total",
		Help: "Snapshots that have ended, by how: success, suspect, partial or failed.",
	}, []string{"result"})
	snapshotSeconds = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_snapshot_duration_seconds",
		Help: "How long the last snapshot took.",
	}, []string{"repository"})
	indicesRetired = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_retention_indices_deleted_total",
		Help: "Indices that retention has deleted.",
	})
	documentsTrimmed = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_retention_documents_deleted_total",
		Help: "Documents that retention has deleted one by one, of indices that are not of one day.",
	})
	indicesUncovered = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_retention_indices_uncovered",
		Help: "Indices that stay, or documents of which do, past their retention, since neither a good snapshot nor the backup has them.",
	}, []string{"of"})
)

// Values of the label of: what would go.
const (
	wholeIndices   = "day"
	partsOfIndices = "documents"
)

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
