package ledger

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	addedEntries = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_ledger_entries_added_total",
		Help: "Entries written to the ledger, by kind: bulk, ingest, loss, or copy (records that a ProcessBatch still holds).",
	}, []string{"kind"})
	addedRecords = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_ledger_records_added_total",
		Help: "Records written to the ledger, by kind of entry.",
	}, []string{"kind"})
	indexSegments = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_ledger_index_segments",
		Help: "Merged objects of the ledger's index, each of which a look-up reads. One worker reports it: the one that runs KeepDeadLetters' activity.",
	}, []string{"stream"})
	indexNew = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_ledger_index_new",
		Help: "Objects of the ledger's index that a merge has left, of one entry each; at most 1,000 are counted. One worker reports it: the one that runs KeepDeadLetters' activity.",
	}, []string{"stream"})
)

func countAdded(e Entry) {
	kind := string(e.Kind)
	if e.Held != nil {
		kind = "copy" // which is not given up
	}
	addedEntries.WithLabelValues(kind).Inc()
	addedRecords.WithLabelValues(kind).Add(float64(len(e.Records)))
}
