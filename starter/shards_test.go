package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"

	"millrace/activities/supervise"
	"millrace/internal/control"
	"millrace/internal/telemetry"
	"millrace/workflows"
	"millrace/workflows/launch"
)

func unmarshal(text string, value any) bool { return json.Unmarshal([]byte(text), value) == nil }

// started is a pipeline whose shards are being indexed.
func started(t *testing.T) pipeline {
	t.Helper()
	p := newPipeline(t, true)
	p.must("process start")
	p.awaitHeartbeats()
	return p
}

func (p pipeline) awaitHeartbeats() {
	p.t.Helper()
	await(p.t, "the heartbeats", func() bool {
		r := p.run("shards")
		return r.status == 0 && strings.Count(r.out, "made-up-worker") == 2
	})
}

// show returns the status of a shard.
func (p pipeline) show(name string) (status shardStatus) {
	p.t.Helper()
	p.mustJSON(&status, "shard show "+name+" --json")
	return status
}

func TestShardsAreShownLive(t *testing.T) {
	t.Parallel()
	p := started(t)
	lines := strings.Split(p.must("shards"), "\n")
	if len(lines) != 5 || strings.Join(strings.Fields(lines[1]), " ") !=
		"shardId-000000000000 running …001234567890 2026-11-23T00:01:00Z 7s 0 made-up-worker es_rejected_execution_exception: queue full" {
		t.Errorf("it prints\n%s", strings.Join(lines, "\n"))
	}
	if got := strings.Fields(lines[3]); len(got) < 2 || got[0] != "shardId-000000000002" || got[1] != "blocked" {
		t.Errorf("the child's line is %q", lines[3])
	}
	var all []shardStatus
	p.mustJSON(&all, "shards --json")
	if len(all) != 3 || all[0].Checkpoint.Sequence != sequence || all[2].State != control.StateBlocked || all[2].Parents[0] != "shardId-000000000001" {
		t.Errorf("as JSON: %+v", all)
	}
	for _, name := range []string{"1", "000000000001", "shardId-000000000001"} {
		if got := p.show(name); got.Shard != "shardId-000000000001" || got.LagSeconds != 7 ||
			got.Workflow != workflows.ProcessShardID(streamName, p.stream.Created, got.Shard) {
			t.Errorf("%s is %+v", name, got)
		}
	}
	p.must("shard show 1", "state            running\n", "checkpoint       "+sequence, "lag              7s\n", "worker           made-up-worker", "paused by        -")
	p.fails("shard show 7", "stream made-up has no shard shardId-000000000007; it has shardId-000000000000, ")
	p.fails("shard show banana", "has no shard banana")
}

func TestShardIsPausedUntilLastHoldEnds(t *testing.T) {
	t.Parallel()
	p := started(t)
	p.must("shard pause 1 --reason maintenance", "shardId-000000000001: paused, by operator (maintenance)")
	if got := p.show("1"); got.State != control.StatePaused || got.Counts.Records == 0 || got.LagSeconds < time.Since(readUpTo).Seconds()-60 {
		t.Errorf("paused, it is %+v", got)
	}
	before := time.Now()
	p.must("shard pause 1 --by recovery --for 10m", "shardId-000000000001: paused, by operator (maintenance), recovery until ")
	if got := p.show("1"); len(got.Holds) != 2 || got.Holds[1].Until.Before(before.Add(10*time.Minute)) || got.Holds[1].Until.After(time.Now().Add(10*time.Minute+time.Second)) {
		t.Errorf("its holds are %+v", got.Holds)
	}
	if got := p.show("0"); got.State != control.StateRunning {
		t.Errorf("its neighbour is %+v", got)
	}
	p.must("shard resume 1", "shardId-000000000001: paused, by recovery until ")
	var status shardStatus
	p.mustJSON(&status, "shard resume 1 --by recovery --json")
	if status.State != control.StateRunning || len(status.Holds) != 0 {
		t.Errorf("resumed, it is %+v", status)
	}
	p.must("shard pause 1 --wait 0", "will pause")
	await(t, "the signal", func() bool { return p.show("1").State == control.StatePaused })
	p.must("shard resume 1 --wait 0", "will resume")
	await(t, "the signal", func() bool { return p.show("1").State == control.StateRunning })
	p.must("shard pause 1 --for 4s", "paused, by operator until ")
	await(t, "the end of the pause", func() bool { return p.show("1").State == control.StateRunning })
	p.fails("shard pause 2", "pause shardId-000000000002: it has no workflow that runs, its state is blocked")
	p.fails("shard pause 9", "has no shard shardId-000000000009")
}

func TestStreamIsPausedAsWhole(t *testing.T) {
	t.Parallel()
	p := started(t)
	p.must("stream pause --reason rest", "process/made-up, 3 shards: paused, by operator (rest)")
	for _, shard := range []string{"0", "1"} {
		if got := p.show(shard); got.State != control.StatePaused || len(got.Holds) != 1 {
			t.Errorf("shard %s is %+v", shard, got)
		}
	}
	p.must("process status", "process/made-up: paused\npaused by operator (rest)\n")
	var status streamStatus
	p.mustJSON(&status, "stream resume --json")
	if status.Shards[0].State != control.StateRunning || status.Shards[2].State != control.StateBlocked {
		t.Errorf("resumed, its shards are %+v", status.Shards)
	}
	if status.State != control.StateRunning || len(status.Holds) != 0 || p.show("0").State != control.StateRunning {
		t.Errorf("resumed, it is %+v", status)
	}
}

func TestShardPauseWaitsForWorker(t *testing.T) {
	t.Parallel()
	p, s := newStreamed(t)
	id := telemetry.StreamID{Name: s.Name(), ARN: s.ARN(), Created: s.Created()}
	if err := (launch.Launcher{Client: p.client}).Start(t.Context(), supervise.ShardStart{Stream: id, Shard: "shardId-000000000000"}); err != nil {
		t.Fatal(err)
	}
	p.must("process start")
	p.fails("shard pause 0", "no worker answered")
	p.must("shard pause 0 --wait 0 --by me", "/shardId-000000000000: will pause")
	events := p.client.GetWorkflowHistory(t.Context(), workflows.ProcessShardID(s.Name(), s.Created(), "shardId-000000000000"), "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		if signal := event.GetWorkflowExecutionSignaledEventAttributes(); signal.GetSignalName() == workflows.Pause {
			return
		}
	}
	t.Error("its history has no signal")
}
