package main

import (
	"testing"

	"millrace/deploy/local/localtest"
	"millrace/internal/control"
	"millrace/workflows"
)

func TestProcessStartsStopsAndResumes(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, true)
	id := workflows.ProcessStreamID(streamName)
	p.must("process status", id+": never started, see `starter process start`")
	p.must("process stop --yes", id+": does not run")
	p.must("process start --call-for 1m", id+": started")
	p.must("process start", id+": runs already")
	var status streamStatus
	await(t, "the shards", func() bool {
		r := p.run("process", "status", "--json") // a busy worker may not answer in time
		return r.status == 0 && unmarshal(r.out, &status) && len(status.Shards) == len(listed)
	})
	if status.Workflow != id || status.Execution != "Running" || status.State != control.StateRunning || !status.Stream.Created.Equal(p.stream.Created) {
		t.Errorf("its status is %+v", status)
	}
	p.awaitHeartbeats()
	p.must("process status", id+": running\n", "SHARD", "shardId-000000000000  running  20", "shardId-000000000002  blocked  -  ", "shardId-000000000001\n")

	p.must("process stop --yes", id+": stopped")
	p.must("process stop --yes", id+": does not run")
	p.must("process status", id+": stopped (canceled)\n", "shardId-000000000000  closed ", "shardId-000000000002  blocked")
	p.must("shards", "shardId-000000000000  closed", "…001234567890")
	p.fails("stream pause", "pause process/made-up: it does not run (Canceled)")
	p.fails("shard pause 0", "it has no workflow that runs, its state is closed")

	// The second run begins where the first was stopped, not anew.
	p.must("process start", id+": started")
	await(t, "the shard to run again", func() bool {
		var again shardStatus
		r := p.run("shard", "show", "0", "--json")
		return r.status == 0 && unmarshal(r.out, &again) && again.State == control.StateRunning && again.Counts.Records > 0
	})
}

func TestProcessReportsMissingWorker(t *testing.T) {
	t.Parallel()
	p := newPipeline(t, false)
	id := workflows.ProcessStreamID(streamName)
	p.must("process start", id+": started", "No worker polls millrace-process yet: it goes on once one is started.")
	p.fails("process status", "no worker answered: check that one polls millrace-process")
	p.must("stream pause --wait 0 --reason later", id+": will pause")
	p.work()
	await(t, "the pause", func() bool {
		var status streamStatus
		p.mustJSON(&status, "process status --json")
		return status.State == control.StatePaused && len(status.Shards) > 0 && status.Shards[0].State == control.StatePaused
	})
	p.must("process status", "paused by operator (later)")
	p.must("process stop --yes", id+": stopped")
}

func TestProcessStartRequiresSetup(t *testing.T) {
	t.Parallel()
	options := localtest.TemporalNamespace(t)
	newOperator(t, "TEMPORAL_ADDRESS="+options.HostPort, "TEMPORAL_NAMESPACE="+options.Namespace).
		fails("process start", "run `starter setup` first")
}
