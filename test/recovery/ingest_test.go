package recovery

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/activities/recovery"
	"millrace/internal/control"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// partlyHome has a record that came home from the ledger, while the entry is open
// for another one. It is in the backup, and in the list of what came home.
func (p *pipeline) partlyHome() {
	p.t.Helper()
	shards, err := p.Stream.Shards(p.t.Context())
	p.must(err)
	records := p.storedIn(shards[0].ID)
	at := slices.IndexFunc(records, func(r stream.Record) bool {
		return strings.HasPrefix(telemetry.ParseFields(r.Data).ID, "after-") && p.sent[telemetry.ParseFields(r.Data).ID]
	})
	home, other := ledger.NewRecord(records[at].Data, outcome.Error{Type: "a_test"}), ledger.NewRecord([]byte("other"), outcome.Error{Type: "a_test"})
	home.Sequence, home.Ended, other.Sequence = records[at].Sequence, ledger.HowIndexed, records[at].Sequence+"0"
	_, err = p.Ledger.Add(p.t.Context(), ledger.Entry{
		Kind: ledger.Bulk, Sparse: true, Records: []ledger.Record{home, other}, Range: telemetry.Range{
			StreamARN: p.Stream.ARN(), StreamCreated: p.Stream.Created(), Shard: shards[0].ID, First: home.Sequence, Last: other.Sequence, Count: 2,
		}, Reprocessing: &ledger.Reprocessing{At: time.Now().UTC()},
	})
	p.must(err)
}

// delays returns how many records are part of the pipeline's delay since its start.
func (p *pipeline) delays() uint64 {
	p.t.Helper()
	registry := prometheus.NewRegistry()
	p.must(registry.Register(p.delay))
	families, err := registry.Gather()
	p.must(err)
	for _, f := range families {
		if f.GetName() == "millrace_delay_seconds" {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	p.t.Fatal("there is no metric of the delay")
	return 0
}

// TestRecoverThroughStream: the backfill is put into the stream again, with the ids
// and times that it has. Verify waits for the shards, and finds nothing to do.
// What came home from the ledger is in its window, and beside it.
func TestRecoverThroughStream(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	began := time.Now().Add(-time.Minute)
	p.send("before", 800, 1)
	p.indexed()
	p.passed()
	p.snapshot()
	p.send("after", 2500, 2)
	p.indexed()
	p.passed() // and so is part of the delay
	p.backUp()
	p.partlyHome()
	p.disaster()
	lost, live := time.Now(), p.delays()
	run := p.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Mode: recovery.ModeIngest}})
	result := p.result(run)
	if c := result.Backfill; !result.Complete || c.Put != 2501 || c.Dead != 2 || c.Indexed != 0 || c.Duplicates != 0 {
		t.Errorf("the result is %+v", result)
	}
	if c := result.Verify; c.Duplicates != 2501 || c.Dead != 2 || c.Indexed != 0 {
		t.Errorf("verify did not wait for the shards: %+v", c)
	}
	p.complete()
	p.keep(run, "recover_ingest")
	if now := p.delays(); now != live {
		t.Errorf("%d replayed records are part of the pipeline's delay", now-live)
	}
	if late := p.count(fmt.Sprintf(`{"range":{"received_at":{"gt":%q}}}`, lost.UTC().Format(time.RFC3339Nano))); late > 0 {
		t.Errorf("%d documents say that they were received during the recovery", late)
	}

	// A replay raises no generation: the caches still hold indexed ids, and these
	// come back all the same. While shards stand still nothing is put.
	p.disaster()
	p.command(workflows.Pause)
	paused := time.Now() // the drain took its time, in which they read on
	p.await("the shards to be far behind", func() bool { return time.Since(paused) > 7*time.Second })
	replay := p.replay("again", workflows.RecoverInput{CallFor: callFor, RecoverRequest: recovery.RecoverRequest{
		From: began, To: lost, Mode: recovery.ModeIngest,
	}})
	p.await("the sweep to wait for the shards", func() bool {
		progress, err := p.launcher.RecoverProgress(t.Context(), workflows.ReplayID("again"))
		return err == nil && strings.Contains(progress.LastError, "wait for the shards")
	})
	if progress, err := p.launcher.RecoverProgress(t.Context(), workflows.ReplayID("again")); err != nil || progress.Backfill.Put > 0 || progress.RecordsDone > 0 {
		t.Errorf("with all shards paused it has put %+v, %v", progress, err)
	}
	p.command(workflows.Resume)
	if c := p.result(replay).Backfill; c.Put != 3300 || c.Dead != 3 {
		t.Errorf("the replay is %+v", c)
	}
	p.await("what was replayed to be indexed", func() bool { return len(p.ids("")) == 3300 })
	p.complete()
}

// command has all shards pause or resume.
func (p *pipeline) command(name string) {
	p.t.Helper()
	_, err := p.launcher.CommandStream(p.t.Context(), p.StreamID(), control.Command{Name: name, Hold: control.Hold{By: "test"}})
	p.must(err)
}

// count counts the documents of a query.
func (p *pipeline) count(query string) int {
	p.t.Helper()
	var answer struct{ Count int }
	p.ask(http.MethodPost, "/"+p.indices+"*/_count", `{"query":`+query+`}`, &answer)
	return answer.Count
}
