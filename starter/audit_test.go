package main

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	"millrace/activities/audit"
	"millrace/workflows"
)

// workOnAudits runs a worker whose backup is made up: with a share of 1 it lacks a record.
func (p pipeline) workOnAudits() {
	p.t.Helper()
	w := worker.New(p.client, workflows.RecoverQueue, worker.Options{})
	w.RegisterWorkflow(workflows.AuditBackup)
	w.RegisterActivityWithOptions(func(_ context.Context, in audit.Call) (audit.Progress, error) {
		made := audit.Progress{Counts: audit.Counts{Objects: 2, Checked: 30, Indexed: 29, Dead: 1}, Done: true, Worker: "made up"}
		if in.Request.All {
			made.Counts, made.Left = audit.Counts{Objects: 3, Checked: 40, Indexed: 39, Missing: 1}, 7
			made.Examples = []audit.Missing{{ID: "doc", Index: "telemetry-log-2026.11.23", Shard: "shardId-0", Sequence: "49", Object: "backup/x"}}
		}
		return made, nil
	}, activity.RegisterOptions{Name: string(audit.AuditObjects)})
	if err := w.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(w.Stop)
}

func TestAuditsAreRunAndScheduled(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	p.must("audit status", "audit: there was none")
	p.must("audit schedule --every 1d", "schedule audit: created, every 24h0m0s", "No worker polls millrace-recover yet")
	p.must("audit run --no-follow", "audit: started")
	p.fails("audit run", "an audit runs already")
	p.workOnAudits()
	p.must("audit status", "30 records of 2 objects", "29 indexed, 1 in the ledger", "0 missing")
	p.fails("audit run --all", "RecordsMissing: 1 records")
	p.fails("audit status", "RecordsMissing: 1 records")
	p.must("audit run --share 0.5 --since 2026-11-23T13:00:00Z", "of 2 objects since 2026-11-23T13:00:00Z")
	p.fails("audit run --share 2", "share: 2 is not from 0 to 1")
	p.fails("audit run --rate 1", "rate: 1 is less than 10")
	p.fails("audit schedule --every 1s", "--every: 1s is less than 1m")
	p.must("audit cancel", "audit: does not run")
	p.must("audit schedule --every 7d --all", "schedule audit: changed, every 168h0m0s")
	p.must("audit schedule --remove", "schedule audit: removed")

	var status workflows.AuditStatus
	p.mustJSON(&status, "audit status --json")
	if status.Checked != 30 || status.State != workflows.StateDone ||
		!status.Since.Equal(time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)) || status.Finished.IsZero() {
		t.Errorf("the status is %+v", status)
	}
}
