package workers

import (
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/audit"
	"millrace/activities/recovery"
	"millrace/workflows"
)

// TestEachTaskQueueKnowsItsTypes holds what each worker registers against the names
// that open workflows wait for. Add to the list what is new. What is renamed, or
// gone, strands every workflow that has it in its history: keep the old name until
// none is left (Temporal's documentation, "Versioning").
func TestEachTaskQueueKnowsItsTypes(t *testing.T) {
	t.Parallel()
	recoverer := &recovery.Recoverer{}
	for queue, c := range map[string]struct {
		register   func(worker.Registry)
		workflows  string
		activities string
	}{
		workflows.IngestQueue: {
			func(r worker.Registry) { registerIngest(r, nil) },
			"IngestBatch Reconcile", "BuryBatch FinishBatch PutBatch ReconcileBatches",
		},
		workflows.RedriveQueue: {
			func(r worker.Registry) { registerRedrive(r, nil) }, "Redrive", "RedriveMessages",
		},
		workflows.ProcessQueue: {
			func(r worker.Registry) { registerProcess(r, nil, nil) },
			"ProcessBatch ProcessShard ProcessStream",
			"BuryRange CommandShards CopyHeld IndexRange ReleaseHeld SuperviseShards",
		},
		workflows.RangeQueue: {
			func(r worker.Registry) { registerRange(r, nil) }, "", "IndexRange",
		},
		workflows.IndexQueue: {
			func(r worker.Registry) { registerIndex(r, nil) }, "", "IndexShard",
		},
		workflows.BackupQueue: {
			func(r worker.Registry) { registerBackup(r, nil) }, "BackupShard BackupStream", "CommandShards SuperviseShards",
		},
		workflows.CopyQueue: {
			func(r worker.Registry) { registerCopy(r, nil) }, "", "CopyShard",
		},
		workflows.DeadQueue: {
			func(r worker.Registry) { registerDead(r, nil, DirectOnly{}) },
			"DrainIndex KeepDeadLetters ReprocessDeadLetters", "DrainParked KeepLetters ReprocessEntries",
		},
		workflows.RecoverQueue: {
			func(r worker.Registry) { registerRecover(r, recoverer, &audit.Auditor{}) },
			"AuditBackup DrillRecovery Recover Replay",
			"AuditObjects AwaitBackup BeginDrill CompareDrill ConcludeRecovery EndDrill ExtendWindow HoldShards PlanRecovery ReleaseShards RestoreIndices SweepObjects",
		},
		workflows.SweepQueue: {
			func(r worker.Registry) { registerSweep(r, nil) }, "", "SweepObjects",
		},
		workflows.SnapshotQueue: {
			func(r worker.Registry) { registerSnapshot(r, nil) },
			"EnforceRetention SnapshotIndex",
			"AbandonSnapshot BeginSnapshot EnforceRetention ExpireSnapshots FollowSnapshot PlanSnapshot TrimIndices",
		},
		workflows.CanaryQueue: {
			func(r worker.Registry) { registerCanary(r, nil) }, "Canary", "DropCanaryIndices ProbeCollectors",
		},
	} {
		var got registered
		c.register(&got)
		slices.Sort(got.workflows)
		slices.Sort(got.activities)
		if have := strings.Join(got.workflows, " "); have != c.workflows {
			t.Errorf("%s knows the workflows\n%s, not\n%s", queue, have, c.workflows)
		}
		if have := strings.Join(got.activities, " "); have != c.activities {
			t.Errorf("%s knows the activities\n%s, not\n%s", queue, have, c.activities)
		}
	}
}

// registered keeps the names under which a worker registers. It panics on what no
// worker uses.
type registered struct {
	worker.Registry
	workflows, activities []string
}

func (r *registered) RegisterWorkflow(w any) {
	name := runtime.FuncForPC(reflect.ValueOf(w).Pointer()).Name()
	r.workflows = append(r.workflows, name[strings.LastIndex(name, ".")+1:])
}

func (r *registered) RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions) {
	if o.Name != "" {
		r.workflows = append(r.workflows, o.Name)
		return
	}
	r.RegisterWorkflow(w)
}

func (r *registered) RegisterActivityWithOptions(_ any, o activity.RegisterOptions) {
	r.activities = append(r.activities, o.Name)
}
