package recovery

import (
	"testing"
	"time"

	"millrace/activities"
	"millrace/internal/ledger"
	"millrace/workflows"
)

// broughtHome has a dead letter resolved by indexing it: it is in no backup.
func (w *world) broughtHome(id string) {
	w.t.Helper()
	entry := ledger.Entry{Kind: ledger.Ingest, Batch: "a-test", Records: []ledger.Record{ledger.NewRecord(w.record(id, false), ledger.Error{Type: "a_test"})}}
	key, err := w.Ledger.Add(w.t.Context(), entry)
	w.must(err)
	w.must(w.Ledger.Resolve(w.t.Context(), key, ledger.Resolution{How: activities.HowIndexed, At: time.Now().UTC()}))
	w.sent[id] = true
}

// TestEverythingComesBack: restored from the snapshot, from the backup, from
// the ledger, and what was sent during it all.
func TestEverythingComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("before", 2000, 3)
	w.indexed()
	w.snapshot()
	w.send("after", 1500, 2)
	w.indexed()
	w.broughtHome("home-1")
	w.disaster()
	w.send("during", 500, 0)
	run := w.begin(workflows.RecoverInput{})
	w.await("the backup to be waited for", func() bool {
		progress, err := w.launcher.RecoverProgress(t.Context(), workflows.RecoverID)
		return err == nil && (progress.Stage == workflows.StageAwait || progress.Stage == workflows.StageVerify)
	})
	w.backUp()
	result := w.result(run)
	if !result.Complete || !result.Verified || len(result.Missing) > 0 || len(result.Restored) != 2 {
		t.Errorf("the result is %+v", result)
	}
	w.indexed()
	w.complete()
	w.keep(run, "recover_complete")

	// What was indexed before the recovery is not remembered as indexed.
	w.disaster()
	w.send("before", 2000, 3)
	w.await("what was sent again to be indexed", func() bool { return len(w.ids("")) == 2000 })
}
