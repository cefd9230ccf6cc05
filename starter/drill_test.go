package main

import (
	"context"
	"testing"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/recovery"
	"millrace/workflows"
)

// workOnDrills runs a worker whose cluster is made up: of a drill without a
// snapshot not everything comes back.
func (p pipeline) workOnDrills() {
	p.t.Helper()
	w := worker.New(p.client, workflows.RecoverQueue, worker.Options{})
	w.RegisterWorkflow(workflows.DrillRecovery)
	w.RegisterWorkflowWithOptions(func(_ workflow.Context, in workflows.RecoverInput) (recovery.RecoverResult, error) {
		result := recovery.RecoverResult{Complete: true, Plan: recovery.Plan{Snapshot: "snap"}, Restored: make([]recovery.Restored, 2)}
		if in.NoSnapshot {
			result = recovery.RecoverResult{Missing: []recovery.Gap{{Object: "backup/x", Reason: "it is empty"}}}
		}
		return result, nil
	}, workflow.RegisterOptions{Name: "Recover"})
	for name, function := range map[string]any{
		"BeginDrill": func(context.Context, recovery.DrillCall) (recovery.DrillBegun, error) {
			return recovery.DrillBegun{Indices: 2, Documents: 30}, nil
		},
		"CompareDrill": func(context.Context, recovery.DrillCall) (recovery.DrillMissing, error) {
			return recovery.DrillMissing{}, nil
		},
		"EndDrill": func(context.Context, recovery.DrillEnd) (int, error) { return 2, nil },
	} {
		w.RegisterActivityWithOptions(function, activity.RegisterOptions{Name: name})
	}
	if err := w.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(w.Stop)
}

func TestDrillsAreRunAndScheduled(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	p.must("drill status", "drill: there was none")
	p.must("drill schedule --every 1d", "schedule drill: created, every 24h0m0s", "No worker polls millrace-recover yet")
	p.must("drill run --no-follow", "drill: started")
	p.workOnDrills()
	p.must("drill status", "Started by operator.")
	p.must("drill cancel", "drill: stopped")
	p.fails("drill status", "drill: it was canceled")
	p.must("drill run", "Everything came back: 30 documents of 2 indices, from snapshot snap and the backup, in", "Its 2 copies are removed.")
	p.fails("drill run --no-snapshot", "DrillIncomplete: the drill did not bring everything back; backup/x: it is empty")
	p.fails("drill status", "DrillIncomplete")

	p.must("drill schedule --every 7d --indices telemetry-span-*", "schedule drill: changed, every 168h0m0s")
	handle := p.client.ScheduleClient().GetHandle(t.Context(), workflows.DrillID)
	if err := handle.Trigger(t.Context(), client.ScheduleTriggerOptions{}); err != nil {
		t.Fatal(err)
	}
	var run string
	await(t, "the schedule's run", func() bool {
		described, err := handle.Describe(t.Context())
		if err == nil && len(described.Info.RecentActions) > 0 {
			run = described.Info.RecentActions[0].StartWorkflowResult.WorkflowID
		}
		return run != ""
	})
	await(t, "its drill", func() bool {
		var result workflows.DrillResult
		answer, err := p.client.QueryWorkflow(t.Context(), workflows.DrillID, "", workflows.StatusQuery)
		return err == nil && answer.Get(&result) == nil && result.Ended.IsZero()
	})
	p.fails("drill run", "a drill runs already")
	var result workflows.DrillResult
	if err := p.client.GetWorkflow(t.Context(), run, "").Get(t.Context(), &result); err != nil || !result.Complete || result.Live.Documents != 30 {
		t.Errorf("%s ended with %+v, %v", run, result, err)
	}
	p.must("drill status", "Everything came back")
	p.must("drill schedule --remove", "schedule drill: removed")
}
