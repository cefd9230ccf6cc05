package main

import (
	"encoding/json"
	"testing"
	"time"

	"millrace/activities/deadletters"
	"millrace/internal/ledger"
	"millrace/workflows"
)

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

func TestLettersStartPauseAndStop(t *testing.T) {
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
