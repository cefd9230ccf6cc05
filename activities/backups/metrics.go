package backups

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"millrace/internal/backup"
)

var (
	backupRecords = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_backup_records_total",
		Help: "Records written to the backup.",
	})
	backupBytes = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_backup_bytes_total",
		Help: "Bytes of records written to the backup, before compression.",
	})
	backupStored = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_backup_stored_bytes_total",
		Help: "Bytes of objects written to the backup.",
	})
	backupObjects = promauto.NewCounterVec(prometheus.CounterOpts{
		Name: "millrace_backup_objects_total",
		Help: "Objects of the backup: written, or adopted after a takeover or a lost answer.",
	}, []string{"how"})
	backupWritten = backupObjects.WithLabelValues("written")
	backupAdopted = backupObjects.WithLabelValues("adopted")
	backupLosses  = promauto.NewCounter(prometheus.CounterOpts{
		Name: "millrace_backup_losses_total",
		Help: "Ranges of the stream that were trimmed before the backup read them; the ledger lists them.",
	})
	backupLag = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_backup_lag_seconds",
		Help: "Age of the oldest record of each shard that is not yet in the backup. Up to --backup-within is normal.",
	}, []string{"shard"})
	backupWaiting = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_backup_waiting",
		Help: "1 while the backup of the shard cannot make progress.",
	}, []string{"shard"})
	backupHeld = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Name: "millrace_backup_held_bytes",
		Help: "Bytes of records, before compression, that are read and not yet written.",
	}, []string{"shard"})
)

// add enters one object.
func (counts *Counts) add(f backup.Flushed) {
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
