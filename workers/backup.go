package workers

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/backups"
	"millrace/activities/supervise"
	"millrace/workflows"
)

// DefaultBackupSlots is how many shards a worker backs up at once. Each holds
// an object, compressed, of BackupLimits.Bytes (at worst those bytes), most of a
// megabyte of compressor, and at the most three pages: of 1 MiB with records of
// 450 bytes, of 10 MiB with records as large as can be. So the bound for 16
// shards at 5 MiB is 16 × (5 + 1 + 3 × 10) MiB, and 16 × 5 MiB what to expect.
const DefaultBackupSlots = 16

// backupSlots bounds the short activities: to look after shards, and to
// command them.
const backupSlots = 10

// Backup makes the worker for the workflows of the backup.
func Backup(c client.Client, supervisor *supervise.Supervisor) worker.Worker {
	w := newWorker(c, workflows.BackupQueue, worker.Options{
		MaxConcurrentActivityExecutionSize: backupSlots,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  stopMargin,
	})
	registerBackup(w, supervisor)
	return w
}

func registerBackup(w worker.Registry, supervisor *supervise.Supervisor) {
	w.RegisterWorkflow(workflows.BackupStream)
	w.RegisterWorkflow(workflows.BackupShard)
	supervise.SuperviseShards.Register(w, supervisor.SuperviseShards)
	supervise.CommandShards.Register(w, supervisor.CommandShards)
}

// Copy makes the worker for the shards: CopyShard and nothing else, so that its
// slots bound the shards that this process backs up.
func Copy(c client.Client, archivist *backups.Archivist, slots int) worker.Worker {
	w := newWorker(c, workflows.CopyQueue, worker.Options{
		DisableWorkflowWorker:              true,
		MaxConcurrentActivityExecutionSize: slots,
		MaxConcurrentActivityTaskPollers:   2,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  archivist.Limits.DrainTimeout + stopMargin,
	})
	registerCopy(w, archivist)
	return w
}

func registerCopy(w worker.Registry, archivist *backups.Archivist) {
	backups.CopyShard.Register(w, archivist.CopyShard)
}
