package intake

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var taken = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "millrace_intake_records_total",
	Help: "Records of the collector that are durable, by where: stream, queue or ledger.",
}, []string{"where"})
