package recovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/process"
	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/control"
	"millrace/internal/index"
	"millrace/internal/snapshot"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// planner plans recoveries with a real bucket, of a cluster and a stream that
// are made up.
type planner struct {
	*testing.T
	*Recoverer
	cluster   *madeUp
	retention time.Duration
	reached   map[string]telemetry.Checkpoint
	processed map[backup.Shard]telemetry.Checkpoint // of earlier streams
	began     time.Time                             // the snapshot that there is
	open      []telemetry.Range
	paused    map[string]bool // shards whose workflow is paused in Temporal
}

func newPlanner(t *testing.T) *planner {
	t.Helper()
	t.Parallel()
	name := localtest.Name(t, "plan")
	objects := s3.NewFromConfig(localtest.AWS(t), func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := archive.Create(t.Context(), objects, name); err != nil {
		t.Fatal(err)
	}
	bucket := archive.Open(objects, name)
	p := &planner{
		T: t, cluster: &madeUp{states: map[string]index.State{}}, retention: 24 * time.Hour,
		reached: map[string]telemetry.Checkpoint{"shardId-000000000000": {Sequence: made.Sequence(9)}},
		began:   time.Now().Add(-2 * time.Hour).UTC(),
	}
	p.Recoverer = &Recoverer{
		History: p,
		Sweeper: Sweeper{Stream: recoverStream, Bucket: bucket, Backups: bucket, Shards: p, Workflows: p}, BucketName: name, Repository: "nightly",
		Backup:  func(prefix string) backup.Described { return bucket.Under(prefix) },
		Other:   func(other string) backup.Objects { return archive.Open(objects, other) },
		Catalog: func(repository string) Catalog { return snapshot.Open(bucket, repository) },
		Cluster: p.cluster, Batches: p,
	}
	return p
}

// record is of the snapshot that there is.
func (p *planner) record(r snapshot.Record) {
	p.Helper()
	r.Name, r.Repository, r.Started = "snap", p.Repository, p.began
	if r.State == "" {
		r.State = snapshot.Success
	}
	if err := snapshot.Open(p.Bucket, p.Repository).Put(p.Context(), r); err != nil {
		p.Fatal(err)
	}
}

// refused plans what cannot be meant, and returns what it is told.
func (p *planner) refused(in PlanInput) string {
	p.Helper()
	_, err := p.PlanRecovery(p.Context(), in)
	var refused *temporal.ApplicationError
	if !errors.As(err, &refused) || refused.Type() != InvalidRequest || !refused.NonRetryable() {
		p.Errorf("%+v: it would be tried again: %v", in.Request, err)
		return ""
	}
	return refused.Message()
}

// listed are the sources on the first page of a list.
func (p *planner) listed(plan Plan, stage string) (keys []string) {
	p.Helper()
	sources, err := readPage(p.Context(), p.Bucket, plan.Papers, stage, 0)
	if err != nil {
		p.Fatal(err)
	}
	for _, source := range sources {
		keys = append(keys, source.Key)
	}
	slices.Sort(keys)
	return keys
}

// OpenBatches implements OpenBatches.
func (p *planner) OpenBatches(_ context.Context, _ telemetry.StreamID, at time.Time) ([]telemetry.Range, error) {
	if !at.Equal(p.began) {
		return nil, nil // of the snapshot that there is, none
	}
	return p.open, nil
}

// Shards implements StreamShards.
func (p *planner) Shards(context.Context) (all []stream.Shard, _ error) {
	for _, id := range slices.Sorted(maps.Keys(p.reached)) {
		all = append(all, stream.Shard{ID: id})
	}
	return all, nil
}

// CurrentRetention implements StreamShards.
func (p *planner) CurrentRetention(context.Context) time.Duration { return p.retention }

// CommandStream implements StreamWorkflows.
func (*planner) CommandStream(context.Context, telemetry.StreamID, control.Command) (bool, error) {
	return false, nil
}

// Paused implements StreamWorkflows.
func (p *planner) Paused(_ context.Context, _ telemetry.StreamID, shards []string) (paused []string, _ error) {
	for _, shard := range shards {
		if p.paused[shard] {
			paused = append(paused, shard+" is paused")
		}
	}
	return paused, nil
}

// Command implements StreamWorkflows.
func (*planner) Command(context.Context, telemetry.StreamID, string, control.Command) error {
	return nil
}

// Reached implements StreamWorkflows.
func (p *planner) Reached(_ context.Context, id telemetry.StreamID, shard string) (telemetry.Checkpoint, bool, error) {
	if p.paused[shard] {
		return telemetry.Checkpoint{}, false, errors.New("it is paused, and does not answer")
	}
	if !id.Created.Equal(recoverStream.Created) {
		at, known := p.processed[backup.Shard{Stream: id.Name, Created: id.Created, ID: shard}]
		return at, known, nil
	}
	at, known := p.reached[shard]
	return at, known, nil
}

// ProcessedShards implements ShardHistory.
func (p *planner) ProcessedShards(context.Context, string) (shards []telemetry.Range, _ error) {
	for shard := range p.processed {
		shards = append(shards, telemetry.Range{StreamCreated: shard.Created, Shard: shard.ID})
	}
	return shards, nil
}

// Live implements StreamWorkflows.
func (*planner) Live(context.Context, telemetry.StreamID, string) (process.Progress, bool, error) {
	return process.Progress{}, false, nil
}

// madeUp is a cluster.
type madeUp struct {
	Cluster
	states map[string]index.State
	none   bool // it knows no repository
	bare   bool // it has no templates
	sent   int64
	made   []index.Repository
}

// Ready implements Cluster.
func (m *madeUp) Ready(context.Context) error {
	if m.bare {
		return fmt.Errorf("%w: made up", index.ErrNoTemplates)
	}
	return nil
}

// GetRepository implements Cluster.
func (m *madeUp) GetRepository(_ context.Context, name string) (index.Repository, error) {
	if m.none {
		return index.Repository{}, index.ErrMissing
	}
	return index.Repository{Name: name}, nil
}

// EnsureRepository implements Cluster.
func (m *madeUp) EnsureRepository(_ context.Context, r index.Repository) (bool, error) {
	m.none, m.made = false, append(m.made, r)
	return true, nil
}

// Indices implements Cluster.
func (m *madeUp) Indices(context.Context, ...string) (map[string]index.State, error) {
	return m.states, nil
}

// Refresh implements Cluster.
func (*madeUp) Refresh(context.Context, ...string) error { return nil }

// CountSent implements Cluster.
func (m *madeUp) CountSent(_ context.Context, asked []index.Sent) ([]int64, error) {
	return slices.Repeat([]int64{m.sent}, len(asked)), nil
}

// LongestBulk implements Cluster.
func (*madeUp) LongestBulk() time.Duration { return time.Minute }

// GetSnapshot implements Cluster.
func (m *madeUp) GetSnapshot(_ context.Context, _, name string) (index.Snapshot, error) {
	if m.none {
		return index.Snapshot{}, index.ErrMissing
	}
	return index.Snapshot{Name: name}, nil
}

// writing says how far a backup is.
type writing func() (telemetry.Checkpoint, error)

// Reached implements BackupPositions.
func (w writing) Reached(context.Context, telemetry.StreamID, string) (telemetry.Checkpoint, error) {
	return w()
}
