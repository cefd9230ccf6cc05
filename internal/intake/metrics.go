package intake

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var putLimit = promauto.NewGauge(prometheus.GaugeOpts{
	Name: "millrace_intake_concurrency_limit",
	Help: "Limit of batches put into the stream at once: down to 4 while it throttles, to 1 while it does not answer.",
})

var taken = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "millrace_intake_records_total",
	Help: "Records of the collector made durable, by place: stream, queue or ledger.",
}, []string{"where"})
