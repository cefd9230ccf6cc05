package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"millrace/activities/process"
	"millrace/internal/control"
	"millrace/internal/indexing"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// badRange has two records that no attempt can index; those between can.
var badRange = telemetry.Range{Shard: "shardId-000000000001", First: sequence, Last: sequence[:len(sequence)-1] + "9", Count: 10}

var odd = outcome.Error{Type: "odd_exception", Reason: "unknown"}

func badEnds(r telemetry.Range) (ends []process.LeftRange) {
	for _, at := range []string{r.First, r.Last} {
		single := r
		single.First, single.Last, single.Count = at, at, 1
		ends = append(ends, process.LeftRange{Range: single, Cause: odd})
	}
	return ends
}

func indexRange(_ context.Context, in process.RangeInput) (process.RangeResult, error) {
	if in.Range.Count == 1 {
		return process.RangeResult{Left: badEnds(in.Range)[:1]}, nil
	}
	return process.RangeResult{Counts: indexing.Counts{Records: 8, Indexed: 8}, Left: badEnds(in.Range)}, nil
}

func giveUpRange(_ context.Context, in process.RangeInput) (process.RangeResult, error) {
	return process.RangeResult{Counts: indexing.Counts{Records: int64(in.Range.Count), DeadLetters: int64(in.Range.Count)}}, nil
}

func TestBatchIsShownRetriedSkippedAndCanceled(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, true)
	p.must("batch list", "none")
	launcher := launch.Launcher{Client: p.client}
	if err := launcher.StartBatch(t.Context(), p.stream, badRange, odd, time.Time{}); err != nil {
		t.Fatal(err)
	}
	id := workflows.ProcessBatchID(streamName, telemetry.Range{
		StreamCreated: badRange.StreamCreated, Shard: badRange.Shard, First: badRange.First, Last: badRange.Last,
	})
	status := func() (got workflows.BatchStatus) {
		p.mustJSON(&got, "batch show --json "+id)
		return got
	}
	await(t, "the tree", func() bool { return len(status().Lines()) == 3 })
	await(t, "the list", func() bool {
		var got []batchLine
		p.mustJSON(&got, "batch list --json")
		return len(got) == 1 && got[0].Workflow == id && got[0].Shard == badRange.Shard
	})
	p.must("batch list", id)
	p.must("batch show "+id, "records   8 indexed", "10 records  split", " of 10 failed", "odd_exception: unknown")

	before := status().Tree.Children // a busy machine may have come to their second attempt
	p.must("batch retry "+id+" --first "+badRange.First+" --last "+badRange.First, "records  ")
	await(t, "the attempt", func() bool { return status().Tree.Children[0].Attempts > before[0].Attempts })
	p.fails("batch retry "+id+" --first x --last x", "no open branch from x to x")
	lines := status().Lines()
	shown, _, _ := strings.Cut(strings.TrimSpace(lines[2]), "  ") // as it is drawn: first-last
	first, last, _ := strings.Cut(shown, "-")
	p.must("batch retry "+id+" --first "+first+" --last "+last, "records  ")
	await(t, "the attempt at the branch as it is drawn", func() bool { return status().Tree.Children[1].Attempts > before[1].Attempts })
	p.fails("batch retry "+id+" --first 1", "--first, --last: give both, or none")
	p.must("batch skip "+id+" --first "+badRange.Last+" --last "+badRange.Last+" --wait 0", "will skip")
	await(t, "the dead letter", func() bool { return status().Counts.DeadLetters == 1 })
	p.must("batch cancel "+id, id+": stopped")
	if got := status(); got.Counts.DeadLetters != 2 || got.State != control.StateDrained {
		t.Errorf("in the end it is %+v", got)
	}
}
