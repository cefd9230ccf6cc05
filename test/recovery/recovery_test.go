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
func (p *pipeline) broughtHome(id string) {
	p.t.Helper()
	entry := ledger.Entry{Kind: ledger.Ingest, Batch: "a-test", Records: []ledger.Record{ledger.NewRecord(p.record(id, false), outcome.Error{Type: "a_test"})}}
	key, err := p.Ledger.Add(p.t.Context(), entry)
	p.must(err)
	p.must(p.Ledger.Resolve(p.t.Context(), key, ledger.Resolution{How: ledger.HowIndexed, At: time.Now().UTC()}))
	p.sent[id] = true
}

// TestRecoverRestoresEverything: restored from the snapshot, from the backup, from
// the ledger, and what was sent during it all.
func TestRecoverRestoresEverything(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.send("before", 2000, 3)
	p.indexed()
	p.snapshot()
	p.send("after", 1500, 2)
	p.indexed()
	p.broughtHome("home-1")
	p.disaster()
	p.send("during", 500, 0)
	run := p.begin(workflows.RecoverInput{})
	p.await("the backup to be waited for", func() bool {
		progress, err := p.launcher.RecoverProgress(t.Context(), workflows.RecoverID)
		return err == nil && (progress.Stage == workflows.StageAwait || progress.Stage == workflows.StageVerify)
	})
	p.backUp()
	result := p.result(run)
	if !result.Complete || !result.Verified || len(result.Missing) > 0 || len(result.Restored) != 2 {
		t.Errorf("the result is %+v", result)
	}
	p.indexed()
	p.complete()
	p.keep(run, "recover_complete")

	// What was indexed before the recovery is not remembered as indexed.
	p.disaster()
	p.send("before", 2000, 3)
	p.await("what was sent again to be indexed", func() bool { return len(p.ids("")) == 2000 })
}

// TestRecoverIncludesLagOfEarlierStream: the stream was made anew since the
// snapshot, by which the earlier one of its name was behind.
func TestRecoverIncludesLagOfEarlierStream(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.send("before", 100, 0)
	p.indexed()
	p.passed()
	p.snapshot()
	const records, read = 10, 4 // of the earlier stream, and of them by the snapshot
	arrived := time.Now().Add(-3 * time.Hour).UTC().Truncate(time.Hour)
	earlier := backup.Shard{Stream: p.Stream.Name(), Created: p.Stream.Created().Add(-50 * time.Hour), ID: "shardId-000000000000"}
	chain := backup.Open(p.Backups.Under(backup.Prefix), earlier, "")
	number := func(n int) string { return fmt.Sprint(1000 + n) }
	for n := range records {
		id := fmt.Sprintf("earlier-%d", n)
		p.must(chain.Add(backup.Record{Sequence: number(n), Arrived: arrived.Add(time.Duration(n) * time.Second), Data: p.record(id, false)}))
		if n >= read {
			p.sent[id] = true
		}
	}
	_, err := chain.Flush(t.Context())
	p.must(err)
	p.must(chain.End(t.Context(), p.Backups.Under(backup.EndsPrefix)))
	catalog := snapshot.Open(p.Bucket, p.repo)
	taken, err := catalog.Get(t.Context(), "snap")
	p.must(err)
	taken.Shards = append(taken.Shards, snapshot.Shard{
		Stream: earlier.Stream, Created: earlier.Created, Shard: earlier.ID,
		Checkpoint: telemetry.Checkpoint{Sequence: number(read - 1), ReadUpTo: arrived},
	})
	p.must(catalog.Put(t.Context(), taken))
	p.backUp()
	p.disaster()
	result := p.result(p.begin(workflows.RecoverInput{}))
	if !result.Complete || result.Backfill.Indexed != records-read {
		t.Errorf("the result is %+v", result)
	}
	p.complete()
}
