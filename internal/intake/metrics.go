package intake

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var putLimit = promauto.NewGauge(prometheus.GaugeOpts{
	Name: "millrace_intake_concurrency_limit",
	Help: "Batches that may be put into the stream at the same time: fewer while it throttles or does not answer.",
})

var taken = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "millrace_intake_records_total",
	Help: "Records of the collector that are durable, by where: stream, queue or ledger.",
}, []string{"where"})
