package main

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	"millrace/activities/deadletters"
	"millrace/internal/ledger"
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

func TestReprocessingIsStartedOnceFollowedAndSteered(t *testing.T) {
	t.Parallel()
	p, d := newDeadPipeline(t)
	id := workflows.ReprocessID(streamName)
	p.must("dlq status", id+": never started, see `starter dlq reprocess`")
	p.must("dlq reprocess --error duration --error-type odd --tenant acme --type span --shard s --from 2026-11-23 --to 2026-11-23T10:00:00Z --by ada",
		id+": started", "starter dlq status")
	await(t, "the call", func() bool { return d.last().Run != "" })
	want := ledger.Selection{
		Error: "duration", ErrorType: "odd", Tenant: "acme", Type: "span", Stream: streamName, Shard: "s",
		From: time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
	}
	if got := d.last(); !same(got.Select, want) || got.Mode != deadletters.ModeIngest || got.DryRun {
		t.Errorf("it was called with %+v", got)
	}
	// A second operator learns of the first.
	p.fails("dlq reprocess --direct", id+" runs already, since 20", "as run ", "started by ada: one at a time")
	await(t, "the heartbeat", func() bool {
		var got workflows.ReprocessStatus
		p.mustJSON(&got, "dlq status --json")
		return got.Done.Waiting == 10
	})
	p.must("dlq status", "state       running\n", "by ada", "40 in 0 entries", "indexed     30\n", "waiting     10 were ingested again", "made-up-worker")
	p.must("dlq pause --reason lunch", id+": paused, by operator (lunch)")
	p.must("dlq status", "paused by", "operator (lunch)")
	p.must("dlq resume", id+": running")
	p.must("dlq cancel", id+": stopped")
	p.must("dlq status", "state       canceled\n")
	p.fails("dlq pause", "it does not run (Canceled)")

	d.will(deadletters.ReprocessProgress{Done: true, Counts: deadletters.ReprocessCounts{Records: 5, Indexed: 3, Refused: 1, Unrecoverable: 1, Resolved: 2},
		Unrecoverable: []string{"ledger/open/x/loss"}, Errors: ledger.Groups{{Error: "odd", Reason: "so", Records: 1, Example: "ledger/open/x/y"}}})
	p.must("dlq reprocess --direct --wait", "state          done\n", "into the index directly", "indexed        3\n", "refused again  1: they stay", "RECORDS  ERROR",
		"odd: so", "ledger/open/x/y", "unrecoverable:\n  ledger/open/x/loss")
	if got := d.last(); got.Mode != deadletters.ModeDirect {
		t.Errorf("it was called with %+v", got)
	}
	p.must("dlq reprocess ledger/open/a ledger/done/b --dry-run", id+"/dry-run: started", "a dry run, nothing is done", "would go into the stream again", "estimate")
	if got := d.last(); !got.DryRun || len(got.Select.Keys) != 2 {
		t.Errorf("it was called with %+v", got)
	}
	d.will(deadletters.ReprocessProgress{Stopped: "most are refused"})
	p.fails("dlq reprocess --wait", "state       stopped\n", "why         most are refused", id+" stopped: most are refused")

	for args, want := range map[string]string{
		"dlq reprocess elsewhere/x":                       "is not the key of a ledger entry",
		"dlq reprocess --settle-for 1ms":                  "--settle-for",
		"dlq reprocess --from yesterday":                  "is no time",
		"dlq list --from 1h --to 2h":                      "that is no time",
		"dlq reprocess --from 2026-11-24 --to 2026-11-23": "that is no time",
	} {
		p.fails(args, want)
	}
}

func same(a, b ledger.Selection) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func TestLettersAreStartedPausedAndStopped(t *testing.T) {
	t.Parallel()
	p, _ := newDeadPipeline(t)
	p.env = append(p.env, "MILLRACE_DLQ=made-up-dlq")
	id := workflows.KeepDeadLettersID("made-up-dlq")
	p.must("letters status", id+": never started")
	p.must("letters start", id+": started")
	p.must("process start", "runs already") // which starts them, too
	await(t, "the heartbeat", func() bool {
		var got letterStatus
		p.mustJSON(&got, "letters status --json")
		return got.Counts.Messages == 7
	})
	p.must("letters status", "state            running\n", "messages         7\n", "entries written  2\n", "unreadable       1\n", "message-1", "it points at no records")
	p.must("letters pause --reason reading", id+": paused, by operator (reading)")
	p.must("letters resume", id+": running")
	p.must("letters stop", id+": stopped")
	p.must("letters status", "stopped (canceled)")
}
