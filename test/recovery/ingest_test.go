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
func (w *world) partlyHome() {
	w.t.Helper()
	shards, err := w.Stream.Shards(w.t.Context())
	w.must(err)
	records := w.storedIn(shards[0].ID)
	at := slices.IndexFunc(records, func(r stream.Record) bool {
		return strings.HasPrefix(telemetry.ParseFields(r.Data).ID, "after-") && w.sent[telemetry.ParseFields(r.Data).ID]
	})
	home, other := ledger.NewRecord(records[at].Data, outcome.Error{Type: "a_test"}), ledger.NewRecord([]byte("other"), outcome.Error{Type: "a_test"})
	home.Sequence, home.Ended, other.Sequence = records[at].Sequence, ledger.HowIndexed, records[at].Sequence+"0"
	_, err = w.Ledger.Add(w.t.Context(), ledger.Entry{
		Kind: ledger.Bulk, Sparse: true, Records: []ledger.Record{home, other}, Range: telemetry.Range{
			StreamARN: w.Stream.ARN(), StreamCreated: w.Stream.Created(), Shard: shards[0].ID, First: home.Sequence, Last: other.Sequence, Count: 2,
		}, Reprocessing: &ledger.Reprocessing{At: time.Now().UTC()},
	})
	w.must(err)
}

// delays returns how many records are part of the pipeline's delay since its start.
func (w *world) delays() uint64 {
	w.t.Helper()
	registry := prometheus.NewRegistry()
	w.must(registry.Register(w.delay))
	families, err := registry.Gather()
	w.must(err)
	for _, f := range families {
		if f.GetName() == "millrace_delay_seconds" {
			return f.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	w.t.Fatal("there is no metric of the delay")
	return 0
}

// TestThroughTheStream: the backfill is put into the stream again, with the ids
// and times that it has. Verify waits for the shards, and finds nothing to do.
// What came home from the ledger is in its window, and beside it.
func TestThroughTheStream(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began := time.Now().Add(-time.Minute)
	w.send("before", 800, 1)
	w.indexed()
	w.passed()
	w.snapshot()
	w.send("after", 2500, 2)
	w.indexed()
	w.backUp()
	w.partlyHome()
	w.disaster()
	lost, live := time.Now(), w.delays()
	run := w.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Mode: recovery.ModeIngest}})
	result := w.result(run)
	if c := result.Backfill; !result.Complete || c.Put != 2501 || c.Dead != 2 || c.Indexed != 0 || c.Duplicates != 0 {
		t.Errorf("the result is %+v", result)
	}
	if c := result.Verify; c.Duplicates != 2501 || c.Dead != 2 || c.Indexed != 0 {
		t.Errorf("verify did not wait for the shards: %+v", c)
	}
	w.complete()
	w.keep(run, "recover_ingest")
	if now := w.delays(); now != live {
		t.Errorf("%d replayed records are part of the pipeline's delay", now-live)
	}
	if late := w.count(fmt.Sprintf(`{"range":{"received_at":{"gt":%q}}}`, lost.UTC().Format(time.RFC3339Nano))); late > 0 {
		t.Errorf("%d documents say that they were received during the recovery", late)
	}

	// A replay raises no generation: the caches still hold indexed ids, and these
	// come back all the same. While shards stand still nothing is put.
	w.disaster()
	paused := time.Now()
	w.command(workflows.Pause)
	w.await("the shards to be far behind", func() bool { return time.Since(paused) > 7*time.Second })
	replay := w.replay("again", workflows.RecoverInput{CallFor: 2 * time.Second, RecoverRequest: recovery.RecoverRequest{
		From: began, To: lost, Mode: recovery.ModeIngest,
	}})
	w.await("the sweep to wait for the shards", func() bool {
		progress, err := w.launcher.RecoverProgress(t.Context(), workflows.ReplayID("again"))
		return err == nil && strings.Contains(progress.LastError, "wait for the shards")
	})
	if progress, err := w.launcher.RecoverProgress(t.Context(), workflows.ReplayID("again")); err != nil || progress.Backfill.Put > 0 || progress.RecordsDone > 0 {
		t.Errorf("with all shards paused it has put %+v, %v", progress, err)
	}
	w.command(workflows.Resume)
	if c := w.result(replay).Backfill; c.Put != 3300 || c.Dead != 3 {
		t.Errorf("the replay is %+v", c)
	}
	w.await("what was replayed to be indexed", func() bool { return len(w.ids("")) == 3300 })
	w.complete()
}

// command has all shards pause or resume.
func (w *world) command(name string) {
	w.t.Helper()
	_, err := w.launcher.CommandStream(w.t.Context(), w.StreamID(), control.Command{Name: name, Hold: control.Hold{By: "test"}})
	w.must(err)
}

// count counts the documents of a query.
func (w *world) count(query string) int {
	w.t.Helper()
	var answer struct{ Count int }
	w.ask(http.MethodPost, "/"+w.indices+"*/_count", `{"query":`+query+`}`, &answer)
	return answer.Count
}
