package workers

import (
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/snapshots"
	"millrace/internal/backup"
	"millrace/internal/index"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// snapshotSlots bounds the activities of snapshots and retention: each only
// asks the cluster for something, but for one at a time, that deletes documents.
const snapshotSlots = 4

// Snapshot makes the worker for snapshots, and for the retention of indices.
func Snapshot(c client.Client, snapshotter *snapshots.Snapshotter) worker.Worker {
	w := newWorker(c, workflows.SnapshotQueue, worker.Options{
		MaxConcurrentActivityExecutionSize: snapshotSlots,
		WorkerStopTimeout:                  stopMargin,
	})
	registerSnapshot(w, snapshotter)
	return w
}

func registerSnapshot(w worker.Registry, snapshotter *snapshots.Snapshotter) {
	w.RegisterWorkflowWithOptions(workflows.SnapshotIndex, bounded)
	w.RegisterWorkflowWithOptions(workflows.EnforceRetention, bounded)
	snapshots.PlanSnapshot.Register(w, snapshotter.PlanSnapshot)
	snapshots.BeginSnapshot.Register(w, snapshotter.BeginSnapshot)
	snapshots.FollowSnapshot.Register(w, snapshotter.FollowSnapshot)
	snapshots.AbandonSnapshot.Register(w, snapshotter.AbandonSnapshot)
	snapshots.ExpireSnapshots.Register(w, snapshotter.ExpireSnapshots)
	snapshots.EnforceRetention.Register(w, snapshotter.EnforceRetention)
	snapshots.TrimIndices.Register(w, snapshotter.TrimIndices)
}

// Snapshotter is what snapshots and the retention of indices need.
func (b *Backends) Snapshotter(documents *index.Client, launcher launch.Launcher) *snapshots.Snapshotter {
	return &snapshots.Snapshotter{
		Stream: b.StreamID(), Shards: b.Stream, Workflows: launcher, Cluster: documents, Bucket: b.Bucket,
		Backup: snapshots.BackupChains{
			Stream: b.StreamID(), Shards: b.Stream, Workflows: launch.Backup{Launcher: launcher},
			Store: b.Backups.Under(backup.Prefix), Ends: b.Backups.Under(backup.EndsPrefix),
		},
	}
}
