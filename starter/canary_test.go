package main

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	"millrace/activities/canary"
	"millrace/workflows"
)

// workOnCanaries runs a worker whose collectors are made up: while down is true, they
// refuse.
func (p pipeline) workOnCanaries(down *atomic.Bool) {
	p.t.Helper()
	w := worker.New(p.client, workflows.CanaryQueue, worker.Options{})
	w.RegisterWorkflow(workflows.Canary)
	w.RegisterActivityWithOptions(func(context.Context, canary.ProbeInput) (canary.Report, error) {
		probes := []canary.Probe{{Region: "eu", ID: "1", Result: canary.Searchable, Seconds: 3.21}, {Region: "us", ID: "2", Result: canary.Searchable, Seconds: 4}}
		if down.Load() {
			probes[1] = canary.Probe{Region: "us", ID: "3", Result: canary.Refused, Error: "connection refused"}
		}
		return canary.Report{Probes: probes}, nil
	}, activity.RegisterOptions{Name: "ProbeCollectors"})
	if err := w.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(w.Stop)
}

// awaitCanary waits until the status counts runs, which Temporal lists after they have
// ended.
func (p pipeline) awaitCanary(what string, done func(canaryHealth) bool) {
	p.t.Helper()
	await(p.t, what, func() bool {
		var health canaryHealth
		p.mustJSON(&health, "canary status --json")
		return done(health)
	})
}

func TestCanaryIsRunAndScheduled(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	id := workflows.CanaryID(p.stream.Name)
	p.must("canary status", "schedule "+id+": none", "last 1h: no run", "last 24h: no run")
	p.must("canary unschedule", "schedule "+id+": there is none")
	p.fails("canary run --wait 1s", "not done within 1s", "millrace-canary")
	var down atomic.Bool
	p.workOnCanaries(&down)
	p.awaitCanary("the end of the run that had no worker", func(h canaryHealth) bool { return h.Windows[0].Available == 1 })
	p.must("canary run", "eu: searchable after 3.2 s", "us: searchable after 4.0 s")
	down.Store(true)
	p.fails("canary run", "CanaryFailed: us: refused: connection refused")
	p.awaitCanary("the failed run", func(h canaryHealth) bool { return h.Windows[0].Failed == 1 && h.Windows[1].Failed == 1 })
	out := p.must("canary status", "of 3 runs", "last run, "+id, "Failed", "  eu: searchable after 3.2 s", "  us: refused: connection refused")
	contains(t, "canary status", out, "last 1h: 66.667 % available: 2 of 3 runs")

	for args, flag := range map[string]string{
		"schedule --every 0s": "--every: ", "schedule --every 1500ms": "--every: ", "schedule --within 10ms": "--within: ", "run --within 1h": "--within: ",
	} {
		p.fails("canary "+args, flag)
	}
	down.Store(false)
	p.must("canary schedule --every 1h", "schedule "+id+": created, every 1h0m0s")
	p.must("canary schedule --every 1s --within 5s", "schedule "+id+": changed, every 1s")
	described, err := p.client.ScheduleClient().GetHandle(t.Context(), id).Describe(t.Context())
	if err != nil || described.Schedule.Policy.Overlap != enums.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL {
		t.Errorf("its policy is %+v: %v", described.Schedule.Policy, err)
	}
	var run string
	p.awaitCanary("runs of the schedule", func(h canaryHealth) bool {
		run = h.Last.Workflow
		return h.Windows[0].Available >= 4 && h.Schedule == "every 1s" && run != id
	})
	info, err := p.client.DescribeWorkflowExecution(t.Context(), run, "")
	if timeout := info.GetExecutionConfig().GetWorkflowRunTimeout().AsDuration(); err != nil || timeout != (workflows.CanaryInput{Within: 5 * time.Second}).Timeout() {
		t.Errorf("a run may take %v: %v", timeout, err)
	}
	if got := attribute(info.GetWorkflowExecutionInfo(), workflows.Stage.GetName()); got != "canary" {
		t.Errorf("its stage is %q", got)
	}
	p.must("canary unschedule", "schedule "+id+": removed")
}
