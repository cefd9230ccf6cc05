package process

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"millrace/internal/indexing"
)

var (
	processed = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_process_records_total",
		Help: "Records processed, by outcome: indexed; dead_letter; handed_over (to a ProcessBatch); and for ids that are indexed already: duplicate, conflict (other content, and the document stays), unchecked (either of the two).",
	}, []string{"outcome"})
	indexedRecords    = processed.WithLabelValues("indexed")
	duplicateRecords  = processed.WithLabelValues("duplicate")
	conflictRecords   = processed.WithLabelValues("conflict")
	uncheckedRecords  = processed.WithLabelValues("unchecked")
	deadRecords       = processed.WithLabelValues("dead_letter")
	handedOverRecords = processed.WithLabelValues("handed_over")

	batchesStarted = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_process_batches_started_total",
		Help: "Ranges handed to a ProcessBatch.",
	})
	shardLag = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_process_lag_seconds",
		Help: "Age of the checkpoint of each shard that this worker processes.",
	}, []string{"shard"})
	shardWaiting = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_process_waiting",
		Help: "1 while the shard cannot make progress.",
	}, []string{"shard"})
)

// publish counts what became of a chunk.
func publish(c indexing.Counts) {
	indexedRecords.Add(float64(c.Indexed))
	duplicateRecords.Add(float64(c.Duplicates))
	conflictRecords.Add(float64(c.Conflicts))
	uncheckedRecords.Add(float64(c.Unchecked))
	deadRecords.Add(float64(c.DeadLetters))
	handedOverRecords.Add(float64(c.HandedOver))
	batchesStarted.Add(float64(c.Batches))
}

// show publishes how a shard does.
func (c *shardCall) show(progress Progress) {
	waiting := 0.0
	if c.isWaiting() {
		waiting = 1
	}
	shardLag.WithLabelValues(c.in.Shard).Set(progress.LagSeconds)
	shardWaiting.WithLabelValues(c.in.Shard).Set(waiting)
	offenders, now := 0, time.Now()
	for _, tenant := range progress.Tenants {
		if tenant.OffendsNow(now) {
			offenders++
		}
	}
	shardOffenders.WithLabelValues(c.in.Shard).Set(float64(offenders))
}

var pooledRecords = promauto.NewCounter(prometheus.CounterOpts{
	Name: "millrace_process_offender_records_total",
	Help: "Records of offenders that went to the ledger in large entries.",
})

var parkedRecords = promauto.NewCounter(prometheus.CounterOpts{
	Name: "millrace_process_parked_records_total",
	Help: "Records parked in the ledger, because their index alone is closed or blocked for writes.",
})

var shardOffenders = promauto.NewGaugeVec(prometheus.GaugeOpts{
	Name: "millrace_process_offenders",
	Help: "Offenders of a shard: tenants whose records are mostly rejected, and that have sent some in the last minute. starter shards names them.",
}, []string{"shard"})

// forgetShard takes a shard out of the metrics: another worker may have it.
func forgetShard(shard string) {
	shardLag.DeleteLabelValues(shard)
	shardWaiting.DeleteLabelValues(shard)
	shardOffenders.DeleteLabelValues(shard)
}
