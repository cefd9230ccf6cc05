package recovery

import (
	"fmt"
	"testing"
	"time"

	"millrace/internal/backup"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// broughtHome has a dead letter resolved by indexing it: it is in no backup.
func (w *world) broughtHome(id string) {
	w.t.Helper()
	entry := ledger.Entry{Kind: ledger.Ingest, Batch: "a-test", Records: []ledger.Record{ledger.NewRecord(w.record(id, false), outcome.Error{Type: "a_test"})}}
	key, err := w.Ledger.Add(w.t.Context(), entry)
	w.must(err)
	w.must(w.Ledger.Resolve(w.t.Context(), key, ledger.Resolution{How: ledger.HowIndexed, At: time.Now().UTC()}))
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

// TestWhatAnEarlierStreamWasBehindComesBack: the stream was made anew since the
// snapshot, by which the earlier one of its name was behind.
func TestWhatAnEarlierStreamWasBehindComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("before", 100, 0)
	w.indexed()
	w.passed()
	w.snapshot()
	const records, read = 10, 4 // of the earlier stream, and of them by the snapshot
	arrived := time.Now().Add(-3 * time.Hour).UTC().Truncate(time.Hour)
	earlier := backup.Shard{Stream: w.Stream.Name(), Created: w.Stream.Created().Add(-50 * time.Hour), ID: "shardId-000000000000"}
	chain := backup.Open(w.Backups.Under(backup.Prefix), earlier, "")
	number := func(n int) string { return fmt.Sprint(1000 + n) }
	for n := range records {
		id := fmt.Sprintf("earlier-%d", n)
		w.must(chain.Add(backup.Record{Sequence: number(n), Arrived: arrived.Add(time.Duration(n) * time.Second), Data: w.record(id, false)}))
		if n >= read {
			w.sent[id] = true
		}
	}
	_, err := chain.Flush(t.Context())
	w.must(err)
	w.must(chain.End(t.Context(), w.Backups.Under(backup.EndsPrefix)))
	catalog := snapshot.Open(w.Bucket, w.repo)
	taken, err := catalog.Get(t.Context(), "snap")
	w.must(err)
	taken.Shards = append(taken.Shards, snapshot.Shard{
		Stream: earlier.Stream, Created: earlier.Created, Shard: earlier.ID,
		Checkpoint: telemetry.Checkpoint{Sequence: number(read - 1), ReadUpTo: arrived},
	})
	w.must(catalog.Put(t.Context(), taken))
	w.backUp()
	w.disaster()
	result := w.result(w.begin(workflows.RecoverInput{}))
	if !result.Complete || result.Backfill.Indexed != records-read {
		t.Errorf("the result is %+v", result)
	}
	w.complete()
}
