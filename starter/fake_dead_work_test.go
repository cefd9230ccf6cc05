package main

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	"millrace/activities/deadletters"
	"millrace/workflows"
)

// deadWork is a KeepLetters and a ReprocessEntries that are made up.
type deadWork struct {
	mu    sync.Mutex
	calls []deadletters.ReprocessCall
	// ends says whether a call of ReprocessEntries ends without a command, and how.
	ends deadletters.ReprocessProgress
}

func (d *deadWork) keep(ctx context.Context, in deadletters.KeepCall) (deadletters.KeepProgress, error) {
	progress := deadletters.KeepProgress{
		Counts: deadletters.KeepCounts{Messages: 7, Entries: 2, Records: 30}, Worker: "made-up-worker", Stay: 1,
		Unreadable: []deadletters.UnreadableLetter{{ID: "message-1", Error: "not a dead letter: it points at no records"}},
	}
	for ctx.Err() == nil && !in.UntilEmpty {
		activity.RecordHeartbeat(ctx, progress)
		rest(ctx)
	}
	return progress, nil
}

func (d *deadWork) reprocess(ctx context.Context, in deadletters.ReprocessCall) (deadletters.ReprocessProgress, error) {
	d.mu.Lock()
	d.calls = append(d.calls, in)
	progress := d.ends
	d.mu.Unlock()
	for ctx.Err() == nil && !progress.Done && progress.Stopped == "" {
		activity.RecordHeartbeat(ctx, deadletters.ReprocessProgress{
			Counts: deadletters.ReprocessCounts{Records: 40, Indexed: 30}, Waiting: 10, Worker: "made-up-worker",
		})
		rest(ctx)
	}
	return progress, nil
}

func rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}

func (d *deadWork) last() deadletters.ReprocessCall {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.calls) == 0 {
		return deadletters.ReprocessCall{}
	}
	return d.calls[len(d.calls)-1]
}

// will says how the next call ends.
func (d *deadWork) will(end deadletters.ReprocessProgress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ends = end
	d.ends.Worker = "made-up-worker"
}

func newDeadPipeline(t *testing.T) (pipeline, *deadWork) {
	t.Helper()
	p, d := newPipeline(t, false), &deadWork{}
	w := worker.New(p.client, workflows.DeadQueue, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond})
	w.RegisterWorkflow(workflows.KeepDeadLetters)
	w.RegisterWorkflow(workflows.ReprocessDeadLetters)
	w.RegisterActivityWithOptions(d.keep, activity.RegisterOptions{Name: "KeepLetters"})
	w.RegisterActivityWithOptions(d.reprocess, activity.RegisterOptions{Name: "ReprocessEntries"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return p, d
}
