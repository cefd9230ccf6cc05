package main

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"

	"millrace/activities/redrive"
	"millrace/internal/control"
	"millrace/workflows"
)

// redriveMessages is a RedriveMessages that has moved twelve records and holds
// more until it is canceled.
func redriveMessages(ctx context.Context, in redrive.Call) (redrive.Progress, error) {
	progress := redrive.Progress{Counts: in.Counts, Pace: 500, Worker: "made-up-worker", LastError: "the stream throttles"}
	progress.Counts.Records += 12
	for ctx.Err() == nil {
		activity.RecordHeartbeat(ctx, progress)
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	progress.Counts.Returned++
	return progress, nil
}

func TestRedriveStartsPausesAndStops(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, true)
	id := workflows.RedriveID(queueName)
	status := func() (got queueStatus) {
		p.mustJSON(&got, "redrive status --json")
		return got
	}
	p.must("redrive status", id+": never started, see `starter redrive start`")
	p.fails("redrive pause", "pause "+id+": it does not run (absent)")
	p.must("redrive start", id+": started")
	p.must("redrive start", id+": runs already")
	await(t, "the heartbeat", func() bool { return status().Counts.Records == 12 })
	p.must("redrive status", "state           running\n", "records         12\n", "bounded to      500 records a second", "worker          made-up-worker", "last error      the stream throttles")
	if got := status(); got.Workflow != id || got.Execution != "Running" || got.Queue != queueName {
		t.Errorf("its status is %+v", got)
	}

	p.must("redrive pause --reason inspection", id+": paused, by operator (inspection)")
	if got := status(); got.State != control.StatePaused || got.Counts.Returned != 1 {
		t.Errorf("paused, it is %+v", got)
	}
	p.must("redrive resume", id+": running")
	await(t, "the next call", func() bool { return status().Counts.Records == 24 })
	p.must("redrive pause --wait 0", id+": will pause")
	await(t, "the signal", func() bool { return status().State == control.StatePaused })
	p.must("redrive resume", id+": running")

	p.must("redrive stop", id+": stopped")
	p.must("redrive status", "state           stopped (canceled)\n")
	p.must("redrive stop", id+": does not run")
}
