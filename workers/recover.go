package workers

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/audit"
	"millrace/activities/process"
	"millrace/activities/recovery"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/index"
	"millrace/internal/limiter"
	"millrace/internal/snapshot"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// DefaultRecoverSlots is how many pages of a recovery a worker works on at
// once. Each holds some bulks of limiter.DefaultBulkBytes: 30 MiB at the most.
const DefaultRecoverSlots = 4

// recoverSlots bounds what recoveries and replays do beside their pages: to
// plan, to pause shards, to restore, to wait for the backup.
const recoverSlots = 10

// Recover makes the worker for the workflows of recoveries, replays and audits, and for
// those of their activities that are not a page.
func Recover(c client.Client, recoverer *recovery.Recoverer, auditor *audit.Auditor) worker.Worker {
	w := newWorker(c, workflows.RecoverQueue, worker.Options{
		MaxConcurrentActivityExecutionSize: recoverSlots,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  process.DefaultDrainTimeout + stopMargin,
	})
	registerRecover(w, recoverer, auditor)
	return w
}

func registerRecover(w worker.Registry, recoverer *recovery.Recoverer, auditor *audit.Auditor) {
	w.RegisterWorkflowWithOptions(workflows.Recover, bounded)
	w.RegisterWorkflowWithOptions(workflows.Replay, bounded)
	w.RegisterWorkflowWithOptions(workflows.DrillRecovery, bounded)
	w.RegisterWorkflowWithOptions(workflows.AuditBackup, bounded)
	recovery.PlanRecovery.Register(w, recoverer.PlanRecovery)
	recovery.HoldShards.Register(w, recoverer.HoldShards)
	recovery.ReleaseShards.Register(w, recoverer.ReleaseShards)
	recovery.RestoreIndices.Register(w, recoverer.RestoreIndices)
	recovery.ExtendWindow.Register(w, recoverer.ExtendWindow)
	recovery.AwaitBackup.Register(w, recoverer.AwaitBackup)
	recovery.ConcludeRecovery.Register(w, recoverer.ConcludeRecovery)
	recovery.BeginDrill.Register(w, recoverer.BeginDrill)
	recovery.CompareDrill.Register(w, recoverer.CompareDrill)
	recovery.EndDrill.Register(w, recoverer.EndDrill)
	audit.AuditObjects.Register(w, auditor.AuditObjects)
	// It has moved to workflows.SweepQueue. Calls that were begun before end here.
	recovery.SweepObjects.Register(w, recoverer.SweepObjects)
}

// Sweep makes the worker for the pages: SweepObjects and nothing else, so that
// its slots bound the pages that this process works on.
func Sweep(c client.Client, sweeper *recovery.Sweeper, slots int) worker.Worker {
	w := newWorker(c, workflows.SweepQueue, worker.Options{
		DisableWorkflowWorker:              true,
		MaxConcurrentActivityExecutionSize: slots,
		MaxConcurrentActivityTaskPollers:   2,
		MaxHeartbeatThrottleInterval:       heartbeatThrottle,
		WorkerStopTimeout:                  process.DefaultDrainTimeout + stopMargin,
	})
	registerSweep(w, sweeper)
	return w
}

func registerSweep(w worker.Registry, sweeper *recovery.Sweeper) {
	recovery.SweepObjects.Register(w, sweeper.SweepObjects)
}

// Recoverer is what recoveries need, beside the rest of a worker: limiter is
// the one that live traffic uses, too, and goes first in.
func (b *Backends) Recoverer(documents *index.Client, limiter *limiter.Limiter, launcher launch.Launcher, repository, identity string) *recovery.Recoverer {
	return &recovery.Recoverer{
		Sweeper: recovery.Sweeper{
			Stream: b.StreamID(), Bucket: b.Bucket, Backups: b.Backups, Documents: documents, Limiter: limiter, Ledger: b.Ledger, DeadLetters: b.DeadLetters,
			Worker: identity, Replayer: b.Stream, Shards: b.Stream, Workflows: launcher,
		},
		BucketName: b.Backups.Name(), Repository: repository,
		Backup:  func(prefix string) backup.Described { return b.Backups.Under(prefix) },
		Other:   func(name string) backup.Objects { return archive.Open(b.S3, name) },
		Catalog: func(repository string) recovery.Catalog { return snapshot.Open(b.Bucket, repository) },
		Cluster: documents, Batches: launcher, History: launcher, Positions: launch.Backup{Launcher: launcher},
	}
}

// Auditor is what audits of the backup need: limiter is the one that live traffic uses,
// too, and goes first in.
func (b *Backends) Auditor(documents *index.Client, limiter *limiter.Limiter, launcher launch.Launcher, identity string) *audit.Auditor {
	return &audit.Auditor{
		Stream: b.StreamID(), Backups: b.Backups.Under(backup.Prefix), Documents: documents, Limiter: limiter, Ledger: b.Ledger,
		Retention: b.Bucket, Workflows: launcher, Worker: identity,
	}
}
