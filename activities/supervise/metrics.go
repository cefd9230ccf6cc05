package supervise

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

var (
	shardStates = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_shard_state",
		Help: "1 for the state of each shard, even if no worker has it. One worker reports it: the one that runs the activities of ProcessStream or BackupStream (stage).",
	}, []string{"stage", "shard", "state"})
	untoldNow = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_ledger_untold_entries",
		Help: "Ledger entries whose message the dead-letter queue has not accepted yet. One worker reports it: the one that runs ProcessStream's activities.",
	}, []string{"stream"})
)

// show publishes the states of shards until forget is called: another worker may
// look after them then.
func (s *Supervisor) show(shards []ShardState) (forget func()) {
	for _, shard := range shards {
		shardStates.WithLabelValues(s.Stage, shard.ID, shard.State).Set(1)
	}
	return func() { shardStates.DeletePartialMatch(prometheus.Labels{"stage": s.Stage}) }
}
