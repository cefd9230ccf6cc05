package main

import (
	"context"
	"testing"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	"millrace/activities/deadletters"
	"millrace/internal/control"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// TestParkedIndexIsListedPausedAndRestarted: lists it, looks at it, pauses and resumes it,
// ends it and begins it again.
func TestParkedIndexIsListedPausedAndRestarted(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	w := worker.New(p.client, workflows.DeadQueue, worker.Options{})
	w.RegisterWorkflow(workflows.DrainIndex)
	w.RegisterActivityWithOptions(func(_ context.Context, in deadletters.DrainCall) (deadletters.DrainResult, error) {
		counts := in.Counts
		counts.Indexed, counts.Refused = counts.Indexed+3, 1
		return deadletters.DrainResult{Counts: counts, Out: true, Worker: "made-up-worker", LastError: "the index is closed"}, nil
	}, activity.RegisterOptions{Name: "DrainParked"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	const name, id = "telemetry-log-2026.11.23", "parked/telemetry-log-2026.11.23"
	show := func() (got parkedStatus) {
		p.mustJSON(&got, "parked show --json "+name)
		return got
	}

	p.must("parked list", "none: every index takes its records")
	p.must("parked show "+name, id+": nothing was parked for the index lately")
	p.fails("parked pause "+name, "pause "+id+": it does not run (absent)")
	if err := (launch.Launcher{Client: p.client}).StartDrain(t.Context(), p.stream, name); err != nil { // as a worker does
		t.Fatal(err)
	}
	await(t, "the first call", func() bool { return show().Counts.Indexed >= 3 })
	await(t, "the list", func() bool {
		var got []parkedLine
		p.mustJSON(&got, "parked list --json")
		return len(got) == 1 && got[0].Index == name && got[0].State == control.StateWaiting
	})
	p.must("parked list", "INDEX ", name+"  waiting ")
	p.must("parked show "+name, "state       waiting\n", "came home   ", "refused     1, which stay in the ledger\n", "worker      made-up-worker", "last error  the index is closed")

	p.must("parked pause "+name+" --reason repair", id+": paused, by operator (repair)")
	if got := show(); got.State != control.StatePaused || len(got.Holds) != 1 || got.Stream != streamName {
		t.Errorf("paused it is %+v", got)
	}
	p.must("parked resume "+name, id+": ")
	await(t, "the next call, at once", func() bool { return show().Counts.Indexed >= 6 })
	p.must("parked pause "+name+" --wait 0", id+": will pause")
	await(t, "the signal", func() bool { return show().State == control.StatePaused })
	p.must("parked start "+name, id+": runs already")

	p.must("parked cancel "+name, id+": stopped")
	p.must("parked show "+name, "(canceled)")
	p.must("parked cancel "+name, id+": does not run")
	p.must("parked start "+name, id+": started")
	await(t, "a run of its own", func() bool { got := show(); return got.Execution == executionRunning && got.Counts.Indexed >= 3 })
}
