package deadletter

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Losses counts the ranges that are in the ledger without their records.
var Losses = promauto.NewCounter(prometheus.CounterOpts{
	Name: "millrace_process_losses_total",
	Help: "Possible losses: ranges of the stream that were trimmed before processing read them. The ledger lists them; the backup may have the records.",
})
