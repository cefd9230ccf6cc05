package recovery

import (
	"context"
	"testing"
	"time"

	"millrace/activities/snapshots"
	"millrace/internal/index"
	"millrace/internal/snapshot"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/cluster"
	"millrace/test/kit/made"
	"millrace/test/kit/runs"
)

// safe is a cluster of its own with a repository, and snapshots that are taken of it.
type safe struct {
	*cluster.Real
	*snapshots.Snapshotter
	call    snapshots.SnapshotCall
	catalog *snapshot.Catalog
}

func newSafe(t *testing.T) *safe {
	t.Helper()
	s := &safe{Real: cluster.New(t)}
	s.Snapshotter = &snapshots.Snapshotter{
		Stream: telemetry.StreamID{Name: "telemetry", ARN: "arn", Created: made.Arrival},
		Shards: oneShard{}, Workflows: oneShard{}, Cluster: s.Client, Bucket: s.Objects,
	}
	s.catalog = snapshot.Open(s.Objects, s.Kind)
	s.call = snapshots.SnapshotCall{
		Repository: index.Repository{Name: s.Kind, Type: "fs", Settings: map[string]string{"location": s.Kind}},
		Indices:    s.Patterns,
	}
	return s
}

// recoverer recovers from its snapshots.
func (s *safe) recoverer() *Recoverer {
	return &Recoverer{Sweeper: Sweeper{Bucket: s.Objects}, Cluster: s.Client}
}

// take takes a snapshot to its end, as SnapshotIndex does.
func (s *safe) take(name string) snapshots.SnapshotLook {
	s.Helper()
	call := s.call
	call.Name = name
	if plan := runs.Must(s.T, s.PlanSnapshot, call); plan.Name != name || plan.State != snapshot.Planned {
		s.Fatalf("planned as %+v", plan)
	}
	runs.Must(s.T, s.BeginSnapshot, call)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		look := runs.Must(s.T, s.FollowSnapshot, call)
		if look.State != snapshot.InProgress {
			return look
		}
		if time.Now().After(deadline) {
			s.Fatalf("it does not end: %+v", look)
		}
	}
}

func (s *safe) record(name string) snapshot.Record {
	s.Helper()
	r, err := s.catalog.Get(s.Context(), name)
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// oneShard is a stream of one shard, of which nothing is open.
type oneShard struct{}

func (oneShard) Shards(context.Context) ([]stream.Shard, error) {
	return []stream.Shard{{ID: "shard"}}, nil
}

func (oneShard) Checkpoint(context.Context, telemetry.StreamID, string) (telemetry.Checkpoint, error) {
	return telemetry.Checkpoint{Sequence: "7"}, nil
}

func (oneShard) OpenBatches(context.Context, telemetry.StreamID, time.Time) ([]telemetry.Range, error) {
	return nil, nil
}

// TestAClusterIsToldOfTheRepositoryOfASnapshot that has never heard of it, by what was
// written down when the snapshot was planned.
func TestAClusterIsToldOfTheRepositoryOfASnapshot(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	call := s.call
	call.Name = "one"
	runs.Must(t, s.PlanSnapshot, call)
	if err := s.Cluster.RemoveRepository(t.Context(), s.call.Repository.Name); err != nil {
		t.Fatal(err)
	}
	if known, err := s.recoverer().ensureRepository(t.Context(), false, &Plan{Repository: s.call.Repository.Name}); !known || err != nil {
		t.Errorf("known %v, %v", known, err)
	}
	there, err := s.Cluster.GetRepository(t.Context(), s.call.Repository.Name)
	if err != nil || there.Type != "fs" || there.Settings["location"] != s.call.Repository.Settings["location"] {
		t.Errorf("it is %+v now, %v", there, err)
	}
}
