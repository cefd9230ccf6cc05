package snapshots

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"millrace/internal/backup"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
	"millrace/test/kit/runs"
)

// backedUp is how far a made-up backup is.
type backedUp struct{ telemetry.Checkpoint }

func (b *backedUp) Reached(context.Context, telemetry.StreamID, string) (telemetry.Checkpoint, error) {
	return b.Checkpoint, nil
}

// shards are those of a made-up stream.
type shards string

func (s shards) Shards(context.Context) ([]stream.Shard, error) {
	return []stream.Shard{{ID: string(s)}}, nil
}

// TestTheBackupCoversAnIndex: without any snapshot, an index goes only when the
// chain has all that came into the stream in its time.
func TestTheBackupCoversAnIndex(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	old := s.Index("2026.01.02")
	received := time.Date(2026, 1, 2, 10, 0, 0, 0, time.UTC)
	for n, at := range []time.Time{received, received.Add(30 * time.Minute)} {
		s.HTTP(http.MethodPost, "/"+old+"/_doc", `{"@timestamp":"2026-01-02T00:00:00Z","received_at":"`+at.Format(telemetry.ReceivedAtLayout)+
			`","indexed_at":"`+at.Add(time.Duration(n)*10*time.Minute).Format(telemetry.ReceivedAtLayout)+`"}`)
	}
	position := &backedUp{}
	store := s.Objects.Under(backup.Prefix)
	s.Backup = BackupChains{Stream: s.Stream, Shards: shards("shardId-000000000000"), Workflows: position, Store: store, Ends: s.Objects.Under(backup.EndsPrefix)}
	shard := backup.Shard{Stream: s.Stream.Name, Created: s.Stream.Created, ID: "shardId-000000000000"}
	chain := backup.Open(store, shard, "")
	add := func(n int, at time.Duration) {
		t.Helper()
		if err := chain.Add(backup.Record{Sequence: made.Sequence(n), Arrived: received.Add(at), Data: made.Record(n)}); err != nil {
			t.Fatal(err)
		}
		if _, err := chain.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	call := RetentionCall{Repository: s.call.Repository.Name, Indices: s.call.Indices, Days: map[string]int{s.Kind: 10}}
	stays := func(what, why string) {
		t.Helper()
		got := runs.Must(t, s.EnforceRetention, call)
		if len(got.Deleted) > 0 || len(got.Uncovered) != 1 || !strings.Contains(got.Uncovered[0], why) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	stays("without a backup", "not known to have come to 2026-01-02T10:41:00Z")
	add(0, -10*time.Minute)
	add(1, 5*time.Minute)
	position.Checkpoint = telemetry.Checkpoint{Sequence: made.Sequence(1), ReadUpTo: received.Add(35 * time.Minute)}
	stays("before the last one was indexed", "not known to have come to 2026-01-02T10:41:00Z")
	chain.Doubt() // records were trimmed
	add(2, 20*time.Minute)
	position.Checkpoint = telemetry.Checkpoint{Sequence: made.Sequence(2), ReadUpTo: received.Add(time.Hour)}
	stays("with a gap", "has a gap, or begins, at 2026-01-02T10:20:00Z")

	if err := store.Delete(t.Context(), shard.Key(backup.Record{Sequence: made.Sequence(2), Arrived: received})); err != nil {
		t.Fatal(err)
	}
	chain = backup.Open(store, shard, made.Sequence(1))
	add(2, 20*time.Minute)
	if err := store.Delete(t.Context(), shard.Key(backup.Record{Sequence: made.Sequence(1), Arrived: received})); err != nil {
		t.Fatal(err)
	}
	stays("with an object that was deleted", "has a gap, or begins, at")

	chain = backup.Open(store, shard, made.Sequence(0))
	add(1, 5*time.Minute)
	if got := runs.Must(t, s.EnforceRetention, call); len(got.Deleted) != 1 || len(got.Uncovered) != 0 || got.Documents != 2 {
		t.Errorf("with all of it in the backup: %+v", got)
	}
}
