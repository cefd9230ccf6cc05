package activities

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"millrace/internal/backup"
)

var (
	backupRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_backup_records_total",
		Help: "Records that are durable in the backup.",
	})
	backupBytes = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_backup_bytes_total",
		Help: "Bytes of the records that are durable in the backup, before compression.",
	})
	backupStored = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_backup_stored_bytes_total",
		Help: "Bytes of the objects that were written to the backup.",
	})
	backupObjects = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_backup_objects_total",
		Help: "Objects of the backup, by how they came to be: written, or adopted from another writer or a lost answer.",
	}, []string{"how"})
	backupWritten = backupObjects.WithLabelValues("written")
	backupAdopted = backupObjects.WithLabelValues("adopted")
	backupLosses  = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_backup_losses_total",
		Help: "Ranges of the stream that were trimmed before the backup had read them: see the ledger.",
	})
	backupLag = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_backup_lag_seconds",
		Help: "Age of the oldest record of each shard that is not durable in the backup: up to --backup-within when all is well.",
	}, []string{"shard"})
	backupWaiting = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_backup_waiting",
		Help: "1 for each shard whose backup stands still because something does not work.",
	}, []string{"shard"})
	backupHeld = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_backup_held_bytes",
		Help: "Bytes of records, before compression, that are read and not durable in the backup yet.",
	}, []string{"shard"})
)

// add enters one object.
func (counts *BackupCounts) add(f backup.Flushed) {
	counts.Records += int64(f.Meta.Count)
	counts.Bytes += f.Meta.Bytes
	counts.Objects++
	counts.Stored += int64(f.Size)
	backupRecords.Add(float64(f.Meta.Count))
	backupBytes.Add(float64(f.Meta.Bytes))
	backupStored.Add(float64(f.Size))
	if f.Adopted {
		counts.Adopted++
		backupAdopted.Inc()
		return
	}
	backupWritten.Inc()
}

func forgetBackup(shard string) {
	backupLag.DeleteLabelValues(shard)
	backupWaiting.DeleteLabelValues(shard)
	backupHeld.DeleteLabelValues(shard)
}
