package recovery

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var sweptRecords = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "millrace_recover_records_total",
	Help: "Records of the backup that a recovery or a replay has processed, by stage: backfill or verify.",
}, []string{"stage"})
