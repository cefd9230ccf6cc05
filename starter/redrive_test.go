package main

import (
	"testing"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"millrace/workflows"
)

// registerRedrive registers a Redrive that does nothing until it is canceled.
func registerRedrive(w worker.Registry) {
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context, in redriveInput) error {
		answer := func() (map[string]any, error) { return map[string]any{"queue": in.Queue, "redriven": 12}, nil }
		if err := workflow.SetQueryHandler(ctx, workflows.StatusQuery, answer); err != nil {
			return err
		}
		return workflow.Await(ctx, func() bool { return false })
	}, workflow.RegisterOptions{Name: "Redrive"})
}

func TestRedriveStartsAndStops(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, true)
	id := workflows.RedriveID(queueName)
	p.must("redrive status", id+": never started, see `starter redrive start`")
	p.must("redrive start", id+": started")
	p.must("redrive start", id+": runs already")
	p.must("redrive status", id+": running", "redriven")
	var status queueStatus
	p.mustJSON(&status, "redrive status --json")
	var answer map[string]any
	if !unmarshal(string(status.Status), &answer) || status.Execution != "Running" || answer["queue"] != queueName {
		t.Errorf("its status is %+v", status)
	}
	p.must("redrive stop", id+": stopped")
	p.must("redrive status", id+": canceled")
	p.must("redrive stop", id+": does not run")
}
