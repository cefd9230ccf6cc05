package recovery

import (
	"testing"
	"time"

	"millrace/internal/backup"
	"millrace/internal/index"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

// TestASweepLeavesWhatRetentionTook: by when it was received, where the index
// stays.
func TestASweepLeavesWhatRetentionTook(t *testing.T) {
	p := newPlanner(t)
	cut := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	trimmed := snapshot.Trimmed{Index: "telemetry-log-undated"}
	if err := trimmed.Add(t.Context(), p.Bucket, 5, cut); err != nil {
		t.Fatal(err)
	}
	s := newSweep(t.Context(), t.Context(), &Sweeper{Bucket: p.Bucket}, SweepInput{}, Plan{}, nil, SweepProgress{})
	for received, want := range map[time.Time]bool{cut.Add(-time.Millisecond): false, cut: true} {
		data := telemetry.AppendRecord(nil, telemetry.Head{Index: trimmed.Index, ReceivedAt: received, Tenant: "acme", ID: "x", Type: "log", Timestamp: received}, []byte(`{}`))
		if got := s.chooses(backup.Line{Record: backup.Record{Data: data, Arrived: cut.AddDate(0, 0, 20)}}); got != want {
			t.Errorf("what was received at %s is brought back: %v", received, got)
		}
	}
}

// TestARecoveryDoesNotMissWhatRetentionTook of an index that stays.
func TestARecoveryDoesNotMissWhatRetentionTook(t *testing.T) {
	p := newPlanner(t)
	made := p.began.Add(-time.Hour)
	const stays = "telemetry-log-undated"
	p.record(snapshot.Record{Indices: map[string]snapshot.Index{stays: {Documents: 10, Created: made, Trimmed: 2}}})
	trimmed := snapshot.Trimmed{Index: stays}
	if err := trimmed.Add(t.Context(), p.Bucket, 6, p.began); err != nil {
		t.Fatal(err)
	}
	for there, want := range map[int64]int{6: 0, 5: 1} {
		p.cluster.states = map[string]index.State{stays: {Health: "green", Created: made, Documents: there}}
		plan, err := p.PlanRecovery(t.Context(), PlanInput{})
		if err != nil || len(plan.Fewer) != want {
			t.Errorf("with %d documents the plan misses %+v, %v", there, plan.Fewer, err)
		}
	}
}
