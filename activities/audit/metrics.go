package audit

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	auditedRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_audited_records_total",
		Help: "Records of the backup that an audit has looked for in index, ledger and open batches.",
	})
	residualRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_residual_records_total",
		Help: "Audited records that are in neither index nor ledger nor an open batch, although their shard's checkpoint has passed them: the residual, which is zero.",
	})
	// lastAudit is not there before it is known.
	lastAudit = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_audit_last_run_timestamp_seconds",
		Help: "End of the last audit of the backup that went through its sample.",
	}, nil)
)
