package ledger

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	addedEntries = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_ledger_entries_added_total",
		Help: "Entries that were new in the ledger, by kind: bulk, ingest or loss.",
	}, []string{"kind"})
	addedRecords = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_ledger_records_added_total",
		Help: "Records in entries that were new in the ledger, by kind.",
	}, []string{"kind"})
)

func countAdded(e Entry) {
	addedEntries.WithLabelValues(string(e.Kind)).Inc()
	addedRecords.WithLabelValues(string(e.Kind)).Add(float64(len(e.Records)))
}
