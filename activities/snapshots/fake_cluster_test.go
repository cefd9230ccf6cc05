package snapshots

import (
	"context"
	"testing"
	"time"

	"millrace/internal/index"
	"millrace/internal/snapshot"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/cluster"
	"millrace/test/kit/made"
	"millrace/test/kit/runs"
)

// safe is a cluster of its own with a repository, and a stream that is made up.
type safe struct {
	*cluster.Real
	*Snapshotter
	call    SnapshotCall
	asked   []string // of ShardPositions, in order
	open    []telemetry.Range
	lacks   string
	catalog *snapshot.Catalog
}

func newSafe(t *testing.T) *safe {
	t.Helper()
	s := &safe{Real: cluster.New(t)}
	s.Snapshotter = &Snapshotter{
		Stream: telemetry.StreamID{Name: "telemetry", ARN: "arn", Created: made.Arrival}, Shards: oneShard{}, Workflows: s, Cluster: s.Client, Bucket: s.Objects,
	}
	s.catalog = snapshot.Open(s.Objects, s.Kind)
	s.call = SnapshotCall{
		Repository: index.Repository{Name: s.Kind, Type: "fs", Settings: map[string]string{"location": s.Kind}},
		Indices:    s.Patterns,
	}
	return s
}

func (s *safe) Lacks(context.Context, time.Time, time.Time) (string, error) { return s.lacks, nil }

func (s *safe) Checkpoint(_ context.Context, _ telemetry.StreamID, shard string) (telemetry.Checkpoint, error) {
	s.asked = append(s.asked, shard)
	return telemetry.Checkpoint{Sequence: "7"}, nil
}

func (s *safe) OpenBatches(context.Context, telemetry.StreamID, time.Time) ([]telemetry.Range, error) {
	s.asked = append(s.asked, "open")
	return s.open, nil
}

type oneShard struct{}

func (oneShard) Shards(context.Context) ([]stream.Shard, error) {
	return []stream.Shard{{ID: "shard"}}, nil
}

// take takes a snapshot to its end, as SnapshotIndex does.
func (s *safe) take(name string) SnapshotLook {
	s.Helper()
	call := s.call
	call.Name = name
	if plan := runs.Must(s.T, s.PlanSnapshot, call); plan.Name != name || plan.State != snapshot.Planned {
		s.Fatalf("planned as %+v", plan)
	}
	runs.Must(s.T, s.BeginSnapshot, call)
	return s.follow(name)
}

func (s *safe) follow(name string) SnapshotLook {
	s.Helper()
	call := s.call
	call.Name = name
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
