package activities

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"go.temporal.io/sdk/temporal"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/index"
	"millrace/internal/ledger"
	"millrace/internal/snapshot"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
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
		reached: map[string]telemetry.Checkpoint{"shardId-000000000000": {Sequence: sequence(9)}},
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
func (*planner) CommandStream(context.Context, telemetry.StreamID, Command) (bool, error) {
	return false, nil
}

// Command implements StreamWorkflows.
func (*planner) Command(context.Context, telemetry.StreamID, string, Command) error { return nil }

// Reached implements StreamWorkflows.
func (p *planner) Reached(_ context.Context, id telemetry.StreamID, shard string) (telemetry.Checkpoint, bool, error) {
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
func (*planner) Live(context.Context, telemetry.StreamID, string) (Progress, bool, error) {
	return Progress{}, false, nil
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

// CountSent implements SentDocuments.
func (m *madeUp) CountSent(_ context.Context, asked []index.Sent) ([]int64, error) {
	return slices.Repeat([]int64{m.sent}, len(asked)), nil
}

// LongestBulk implements SentDocuments.
func (*madeUp) LongestBulk() time.Duration { return time.Minute }

// GetSnapshot implements Cluster.
func (m *madeUp) GetSnapshot(_ context.Context, _, name string) (index.Snapshot, error) {
	if m.none {
		return index.Snapshot{}, index.ErrMissing
	}
	return index.Snapshot{Name: name}, nil
}

// TestANewClusterIsToldOfTheRepository: by what was written down of it when a
// snapshot was taken. A dry run changes nothing.
func TestANewClusterIsToldOfTheRepository(t *testing.T) {
	p := newPlanner(t)
	p.record(snapshot.Record{})
	p.cluster.none = true
	if text := p.refused(PlanInput{}); !strings.Contains(text, "the cluster has no repository nightly, and no snapshot has written down what it is") {
		t.Errorf("without knowing it, it says %q", text)
	}
	if err := p.Bucket.Put(t.Context(), repositoryKey("nightly"), []byte(`{"name":"nightly","type":"fs","settings":{"location":"there"}}`)); err != nil {
		t.Fatal(err)
	}
	dry, err := p.PlanRecovery(t.Context(), PlanInput{DryRun: true})
	if err != nil || dry.Snapshot != "snap" || len(p.cluster.made) > 0 || !strings.Contains(strings.Join(dry.Warnings, ""), "the recovery makes it known") {
		t.Errorf("a dry run made %+v: %v, %+v", p.cluster.made, err, dry)
	}
	plan, err := p.PlanRecovery(t.Context(), PlanInput{})
	if err != nil || plan.Snapshot != "snap" || len(p.cluster.made) != 1 || p.cluster.made[0].Settings["location"] != "there" {
		t.Errorf("it made %+v: %v, %+v", p.cluster.made, err, plan)
	}
}

// TestAClusterWithoutTemplatesIsSetUpFirst: indices that a backfill makes would
// have whatever mapping the cluster finds for them.
func TestAClusterWithoutTemplatesIsSetUpFirst(t *testing.T) {
	p := newPlanner(t)
	p.record(snapshot.Record{})
	p.cluster.bare = true
	for _, in := range []PlanInput{{}, {Freeze: true}, {Replay: true, Freeze: true, Request: RecoverRequest{From: p.began, To: p.began.Add(time.Hour)}}} {
		if text := p.refused(in); !strings.Contains(text, "templates are not installed") || !strings.Contains(text, "run `starter setup`") {
			t.Errorf("it says %q", text)
		}
	}
	plan, err := p.PlanRecovery(t.Context(), PlanInput{DryRun: true})
	if err != nil || !strings.Contains(strings.Join(plan.Warnings, ""), "starter setup is to be run first") {
		t.Errorf("a dry run says %v, %v", plan.Warnings, err)
	}
}

// TestWhatCameHomeFromTheLedgerIsListed: of more entries than are read at once,
// those of which records were indexed since the snapshot: neighbours, scattered or
// parked ones.
func TestWhatCameHomeFromTheLedgerIsListed(t *testing.T) {
	p := newPlanner(t)
	p.record(snapshot.Record{})
	p.Ledger = ledger.New(p.Bucket.(*archive.Bucket), recoverStream.Name)
	const entries = 3*entriesAtOnce + 2
	var want []string
	for n := range entries {
		e := ledger.Entry{
			Kind: ledger.Bulk, Range: telemetry.Range{StreamCreated: recoverStream.Created, Shard: "shardId-000000000000", First: sequence(n), Last: sequence(n), Count: 1},
			Records: []ledger.Record{{ID: sequence(n), Sequence: sequence(n)}},
		}
		switch n % 3 {
		case 1:
			e.Sparse = true
		case 2:
			e.Kind, e.Sparse, e.Index = ledger.Parked, true, "telemetry-span-2026.11.23"
		}
		key, err := p.Ledger.Add(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		how := []string{HowIndexed, HowSuperseded}[n%2]
		if err := p.Ledger.Resolve(t.Context(), key, ledger.Resolution{How: how, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if how == HowIndexed {
			want = append(want, strings.Replace(key, "/open/", "/done/", 1))
		}
	}
	slices.Sort(want)
	for name, request := range map[string]RecoverRequest{"since the snapshot": {}, "without a snapshot": {NoSnapshot: true}} {
		plan, err := p.PlanRecovery(t.Context(), PlanInput{ID: "a", Freeze: true, Request: request})
		if err != nil {
			t.Fatal(err)
		}
		if got := p.listed(plan, SweepBackfill); plan.Entries != int64(len(want)) || !slices.Equal(got, want) {
			t.Errorf("%s %d entries: listed are %v, want %v", name, plan.Entries, got, want)
		}
	}
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

// TestWhatAnEarlierVerifyIndexedIsListed: it came to the backup, or home from the
// ledger, when that recovery had listed already what to backfill.
func TestWhatAnEarlierVerifyIndexedIsListed(t *testing.T) {
	p := newPlanner(t)
	p.record(snapshot.Record{})
	papers := Papers("earlier")
	lists := map[string][]Listed{
		listKey(papers, SweepBackfill, 0): {{Key: "backup/a"}, {Key: "backup/b"}},
		listKey(papers, SweepVerify, 0):   {{Key: "backup/b"}},
		listKey(papers, SweepVerify, 1):   {{Key: "backup/c"}, {Key: "ledger/done/s/shard/d.json"}},
	}
	for key, list := range lists {
		if err := p.writePaper(t.Context(), key, list); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.writePaper(t.Context(), papers+planFile, Plan{Papers: papers, Pages: 1}); err != nil {
		t.Fatal(err)
	}
	plan, err := p.PlanRecovery(t.Context(), PlanInput{ID: "a", Freeze: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"backup/a", "backup/b", "backup/c", "ledger/done/s/shard/d.json"}
	if got := p.listed(plan, SweepBackfill); !slices.Equal(got, want) {
		t.Errorf("listed are %v, want %v", got, want)
	}
	if err := p.Bucket.Delete(t.Context(), listKey(papers, SweepBackfill, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.PlanRecovery(t.Context(), PlanInput{ID: "b", Freeze: true}); err == nil {
		t.Error("a list that is gone is taken for an empty one")
	}
}

// TestTheWindowReachesAsFarAsTheStreamDoes: by what it keeps now, and not when
// the worker was started.
func TestTheWindowReachesAsFarAsTheStreamDoes(t *testing.T) {
	p := newPlanner(t)
	p.record(snapshot.Record{})
	for _, kept := range []time.Duration{24 * time.Hour, 168 * time.Hour} {
		p.retention = kept
		plan, err := p.PlanRecovery(t.Context(), PlanInput{ID: "a", Freeze: true})
		if err != nil || plan.Window.Reach != kept {
			t.Errorf("planned it reaches %s, want %s: %v", plan.Window.Reach, kept, err)
		}
		p.retention += time.Hour
		plan, err = p.ExtendWindow(t.Context(), ExtendInput{Papers: plan.Papers, Reached: p.reached})
		if err != nil || plan.Window.Reach != p.retention {
			t.Errorf("extended it reaches %s, want %s: %v", plan.Window.Reach, p.retention, err)
		}
	}
}

// TestABatchThatWasListedLateIsBackfilled: the snapshot's record does not have
// it, and no other snapshot was taken since.
func TestABatchThatWasListedLateIsBackfilled(t *testing.T) {
	p := newPlanner(t)
	known := telemetry.Range{StreamCreated: recoverStream.Created, Shard: "shardId-000000000000", First: sequence(2), Last: sequence(3), Count: 2}
	p.record(snapshot.Record{Open: []telemetry.Range{known}})
	late := known
	late.First, late.Last = sequence(4), sequence(5)
	p.open = []telemetry.Range{known, late}
	wants := func(papers string, last string) bool {
		plan, err := readPlan(t.Context(), p.Bucket, papers)
		spans := plan.Window.Shards[late.Shard]
		return err == nil && len(spans) == 3 && slices.ContainsFunc(spans, func(s backup.Span) bool { return s.Until == last })
	}
	plan, err := p.PlanRecovery(t.Context(), PlanInput{ID: "a", Freeze: true})
	if err != nil || !wants(plan.Papers, late.Last) {
		t.Errorf("planned without it: %v", err)
	}
	p.open[1].Last = sequence(6) // as if it were listed only now
	if plan, err = p.ExtendWindow(t.Context(), ExtendInput{Papers: plan.Papers, Reached: p.reached}); err != nil || !wants(plan.Papers, sequence(6)) {
		t.Errorf("extended without it: %v", err)
	}
}

// writing says how far a backup is.
type writing func() (telemetry.Checkpoint, error)

// Reached implements BackupPositions.
func (w writing) Reached(context.Context, telemetry.StreamID, string) (telemetry.Checkpoint, error) {
	return w()
}

// TestVerifyWaitsForTheBackup: also where no sequence number says how far it is
// to come, but a time. Nine records are in one object, a second apart.
func TestVerifyWaitsForTheBackup(t *testing.T) {
	p := newPlanner(t)
	first := time.Now().Add(-time.Hour).UTC().Truncate(time.Hour)
	shard := backup.Shard{Stream: recoverStream.Name, Created: recoverStream.Created, ID: "shardId-000000000000"}
	chain := backup.Open(p.Backup(backup.Prefix).(backup.Store), shard, "")
	for n := range 9 {
		if err := chain.Add(backup.Record{Sequence: sequence(n), Arrived: first.Add(time.Duration(n) * time.Second), Data: record(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chain.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	at := func(record, seconds int) writing {
		return func() (telemetry.Checkpoint, error) {
			return telemetry.Checkpoint{Sequence: sequence(record), ReadUpTo: first.Add(time.Duration(seconds) * time.Second)}, nil
		}
	}
	silent := writing(func() (telemetry.Checkpoint, error) { return telemetry.Checkpoint{}, errors.New("no answer") })
	behind := func(what string, want int, backups writing, to int, known map[string][]backup.Span) {
		t.Helper()
		p.Positions = backups
		window := backup.Window{From: first, To: first.Add(time.Duration(to) * time.Second), Stream: shard.Stream, Created: shard.Created, Shards: known}
		found, err := p.look(t.Context(), Plan{Window: window, Prefix: backup.Prefix})
		gaps := found.chains
		if err != nil || len(gaps) != want || want > 0 && gaps[0].Sequence != sequence(8) {
			t.Errorf("%s: %+v, %v", what, gaps, err)
		}
	}
	behind("it is not there yet", 1, at(8, 19), 20, nil)
	behind("it is there", 0, at(8, 20), 20, nil)
	behind("its last object is gone", 1, at(9, 20), 20, nil)
	behind("no answer, and the last object is older", 1, silent, 20, nil)
	behind("no answer, and the last object is of later", 0, silent, -1, nil)
	behind("nothing is wanted", 0, silent, 20, map[string][]backup.Span{shard.ID: {}})
	behind("its end is known, and it is there", 0, silent, 20, map[string][]backup.Span{shard.ID: {{Until: sequence(8)}}})
	behind("its end is known, and it is not there", 1, silent, 20, map[string][]backup.Span{shard.ID: {{Until: sequence(9)}}})
	if err := chain.End(t.Context(), p.Backup(backup.EndsPrefix).(backup.Store)); err != nil {
		t.Fatal(err)
	}
	behind("the shard had no more", 0, silent, 20, nil)

	// It passes while it is waited for.
	p.record(snapshot.Record{})
	plan, err := p.PlanRecovery(t.Context(), PlanInput{ID: "a", Freeze: true, Request: RecoverRequest{NoSnapshot: true, From: first, To: first.Add(24 * time.Hour)}})
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	p.reached["shardId-000000000001"] = telemetry.Checkpoint{}
	p.Positions = writing(func() (telemetry.Checkpoint, error) {
		asked++
		return telemetry.Checkpoint{Closed: asked > 2}, nil
	})
	result := must(t, p.AwaitBackup, AwaitInput{Papers: plan.Papers, For: time.Minute})
	if !result.Passed || len(result.Gaps) > 0 || asked != 4 || result.Objects != 1 {
		t.Errorf("%+v, asked %d times", result, asked)
	}
}

// TestTheBackupOfAnEarlierStreamMustBeWhole: its chains must have come to their
// end, or to what was processed of them, as nothing comes to them any more.
func TestTheBackupOfAnEarlierStreamMustBeWhole(t *testing.T) {
	p := newPlanner(t)
	p.Positions = writing(func() (telemetry.Checkpoint, error) { return telemetry.Checkpoint{Closed: true}, nil })
	made := recoverStream.Created.Add(-50 * time.Hour)
	arrived := p.began.Add(-time.Hour).Truncate(time.Hour)
	store, ends := p.Backup(backup.Prefix).(backup.Store), p.Backup(backup.EndsPrefix).(backup.Store)
	write := func(id string, ended bool) backup.Shard {
		t.Helper()
		shard := backup.Shard{Stream: recoverStream.Name, Created: made, ID: id}
		chain := backup.Open(store, shard, "")
		for n := range 9 {
			if err := chain.Add(backup.Record{Sequence: sequence(n), Arrived: arrived.Add(time.Duration(n) * time.Second), Data: record(n)}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := chain.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if ended {
			if err := chain.End(t.Context(), ends); err != nil {
				t.Fatal(err)
			}
		}
		return shard
	}
	ended, open := write("shardId-000000000001", true), write("shardId-000000000002", false)
	bare := backup.Shard{Stream: recoverStream.Name, Created: made, ID: "shardId-000000000003"}
	behind := []backup.Span{{After: sequence(3)}}
	all := backup.Window{From: arrived, To: time.Now(), Stream: recoverStream.Name, Created: recoverStream.Created}
	for name, c := range map[string]struct {
		of        backup.Shard
		spans     []backup.Span // nil: time decides
		processed int           // negative: unknown
		want      bool          // a gap
	}{
		"ended":                               {ended, behind, -1, false},
		"ended, by time":                      {ended, nil, -1, false},
		"unknown":                             {open, behind, -1, true},
		"unknown, by time":                    {open, nil, -1, true},
		"reached what was processed":          {open, behind, 8, false},
		"reached what was processed, by time": {open, nil, 8, false},
		"did not reach it":                    {open, behind, 9, true},
		"did not reach it, by time":           {open, nil, 9, true},
		"an open range alone":                 {open, []backup.Span{{After: sequence(3), Until: sequence(5)}}, -1, false},
		"an open range that it lacks":         {open, []backup.Span{{After: sequence(7), Until: sequence(9)}}, -1, true},
		"without an object":                   {bare, behind, 4, true},
		"without an object, and stood still":  {bare, behind, 3, false},
		"without an object, and drained":      {bare, []backup.Span{}, -1, false},
		"without an object, by time":          {bare, nil, 4, true},
		"without an object, and older":        {bare, nil, 0, false},
	} {
		w := all
		w.Earlier = []backup.Generation{{Created: made, Shards: map[string][]backup.Span{ended.ID: {}, open.ID: {}, bare.ID: {}}}}
		w.Earlier[0].Shards[c.of.ID] = c.spans
		if c.spans == nil {
			delete(w.Earlier[0].Shards, c.of.ID)
		}
		p.processed = map[backup.Shard]telemetry.Checkpoint{}
		if c.processed >= 0 {
			p.processed[c.of] = telemetry.Checkpoint{Sequence: sequence(c.processed), ReadUpTo: arrived.Add(time.Duration(c.processed-1) * time.Second)}
		}
		plan := Plan{ID: "a", Papers: Papers("a"), Prefix: backup.Prefix, Window: w}
		if err := p.writePaper(t.Context(), plan.Papers+planFile, plan); err != nil {
			t.Fatal(err)
		}
		result := must(t, p.AwaitBackup, AwaitInput{Papers: plan.Papers, For: time.Minute})
		gap := slices.ContainsFunc(result.Gaps, func(g Gap) bool {
			return g.Shard == c.of.ID && strings.Contains(g.Reason, "nor, as far as is known, to what was processed")
		})
		if gap != c.want || len(result.Gaps) > 1 || !result.Passed {
			t.Errorf("%s: %+v", name, result)
		}
	}
	// A replay asks by time, too.
	p.processed = map[backup.Shard]telemetry.Checkpoint{}
	plan := must(t, p.PlanRecovery, PlanInput{ID: "b", Replay: true, Freeze: true, Request: RecoverRequest{From: arrived, To: time.Now()}})
	if len(plan.Broken) != 1 || plan.Broken[0].Shard != open.ID || plan.Objects != 2 {
		t.Errorf("a replay lacks %+v of %d objects", plan.Broken, plan.Objects)
	}
}

// TestAReplayOfFirehosesObjects: it is known to lack nothing once an object begins
// behind its window. What only an earlier recovery has listed is none of it.
func TestAReplayOfFirehosesObjects(t *testing.T) {
	p := newPlanner(t)
	p.Positions = writing(func() (telemetry.Checkpoint, error) { return telemetry.Checkpoint{}, errors.New("no answer") })
	put := func(at time.Time) {
		t.Helper()
		key := backup.Prefix + at.Format("2006/01/02/15/") + "s-1-" + at.Format("2006-01-02-15-04-05") + "-x"
		if err := p.Bucket.Put(t.Context(), key, record(1)); err != nil {
			t.Fatal(err)
		}
	}
	to := time.Now().UTC().Add(-3 * time.Hour)
	in := PlanInput{ID: "a", Replay: true, Freeze: true, Request: RecoverRequest{From: to.Add(-time.Hour), To: to}}
	put(to.Add(-30 * time.Minute))
	plan := must(t, p.PlanRecovery, in)
	if len(plan.Broken) != 1 || !strings.Contains(plan.Broken[0].Reason, "cannot be known") || plan.Foreign != 1 {
		t.Errorf("with nothing behind it: %+v", plan)
	}
	put(to.Add(30 * time.Minute))
	if plan = must(t, p.PlanRecovery, in); len(plan.Broken) > 0 || plan.Foreign == 0 {
		t.Errorf("with an object behind it: %+v", plan)
	}
	in.Request.From = to.Add(-20 * time.Hour)
	in.Request.To = to.Add(-10 * time.Hour)
	if plan = must(t, p.PlanRecovery, in); len(plan.Broken) != 1 || !strings.Contains(plan.Broken[0].Reason, "has not come to") {
		t.Errorf("of a time without objects: %+v", plan)
	}
}

// TestInputThatNoRetryHelps: it is said at once, while no other recovery may run.
func TestInputThatNoRetryHelps(t *testing.T) {
	p := newPlanner(t)
	p.record(snapshot.Record{State: "PARTIAL", Reason: "telemetry-log-1/0 is red"})
	if text := p.refused(PlanInput{Request: RecoverRequest{Snapshot: "snap"}}); !strings.Contains(text, "its state is PARTIAL, telemetry-log-1/0 is red") {
		t.Errorf("of a snapshot that is PARTIAL it says %q", text)
	}
	put := func(key, text string) {
		t.Helper()
		if err := p.Bucket.Put(t.Context(), key, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	put("other.json", "{}")
	put("not.json", "{")
	put("elsewhere.json", `{"sourceBucket":"b","creationTimestamp":"1","files":[{"key":"x"}]}`)
	put("lost.json", `{"sourceBucket":"`+p.BucketName+`","fileFormat":"CSV","creationTimestamp":"1","files":[{"key":"x"}]}`)
	put("avro.json", `{"sourceBucket":"`+p.BucketName+`","fileFormat":"ORC","creationTimestamp":"1","files":[{"key":"not.json"}]}`)
	for inventory, want := range map[string]string{
		"none.json": "no such object", "not.json": "unexpected end", "other.json": "not one of S3 Inventory's", "elsewhere.json": "about bucket b",
		"lost.json": "no such object", "avro.json": "let the inventory be written as CSV", "s3://": "is not s3://bucket/key",
		"s3://" + p.BucketName + "-no/key": "NoSuchBucket",
	} {
		if text := p.refused(PlanInput{Request: RecoverRequest{NoSnapshot: true, Inventory: inventory}}); !strings.Contains(text, want) {
			t.Errorf("of inventory %s it says %q, want %q", inventory, text, want)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var useless *backup.InventoryError
	if _, err := p.objects(gone, Plan{}, "lost.json"); err == nil || errors.As(err, &useless) || strings.Contains(err.Error(), InvalidRequest) {
		t.Errorf("one that cannot be read this time: %v", err)
	}
}

// TestAPlanSaysHowLongItTakes: by the rate that is given, or one that is
// assumed.
func TestAPlanSaysHowLongItTakes(t *testing.T) {
	p := newPlanner(t)
	chain := backup.Open(p.Backup(backup.Prefix).(backup.Store), backup.Shard{Stream: recoverStream.Name, Created: recoverStream.Created, ID: "shardId-000000000000"}, "")
	for n := range 9 {
		if err := chain.Add(backup.Record{Sequence: sequence(n), Arrived: time.Now(), Data: record(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := chain.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for rate, want := range map[float64]string{
		3: "estimated time: 3s for the backfill, at 3 records a second, and about as long again to verify",
		0: fmt.Sprintf("estimated time: 1s for the backfill, at %d records a second, and about as long again to verify", assumedRate),
	} {
		plan, err := p.PlanRecovery(t.Context(), PlanInput{Request: RecoverRequest{NoSnapshot: true}, Rate: rate})
		if err != nil || plan.Records != 9 || !slices.Contains(plan.Lines(), want) {
			t.Errorf("at %g: %v, %d records, %q", rate, err, plan.Records, plan.Lines())
		}
	}
}

// TestAKeptIndexIsHeldAgainstTheSnapshot: one that has lost documents is not
// passed over in silence.
func TestAKeptIndexIsHeldAgainstTheSnapshot(t *testing.T) {
	p := newPlanner(t)
	made := p.began.Add(-time.Hour)
	p.record(snapshot.Record{Indices: map[string]snapshot.Index{"telemetry-a": {Documents: 10, Created: made}, "telemetry-b": {Documents: 10, Created: made}}})
	p.cluster.states["telemetry-a"] = index.State{Health: "green", Created: made, Documents: 9}
	p.cluster.states["telemetry-b"] = index.State{Health: "green", Created: made, Documents: 10}
	plan, err := p.PlanRecovery(t.Context(), PlanInput{})
	if err != nil || len(plan.Restore) > 0 || !slices.Equal(plan.Fewer, []Restored{{Index: "telemetry-a", Documents: 9, Wanted: 10}}) {
		t.Errorf("%v, %+v", err, plan)
	}
	if !slices.Contains(plan.Lines(), "warning: telemetry-a stays, although it has 9 documents, and the snapshot 10: replace would replace it") {
		t.Errorf("it says %q", plan.Lines())
	}
}

// TestWhichIndicesAreRestored: by default those of which a restore loses
// nothing, all others only where that is asked for.
func TestWhichIndicesAreRestored(t *testing.T) {
	p := newPlanner(t)
	made := p.began.Add(-time.Hour)
	taken := snapshot.Record{Indices: map[string]snapshot.Index{}}
	for _, name := range []string{"missing", "red", "younger", "healthy", "retired"} {
		taken.Indices["telemetry-"+name] = snapshot.Index{Documents: 10, Created: made}
	}
	p.record(taken)
	p.cluster.states = map[string]index.State{
		"telemetry-red":     {Health: "red", Created: made, Documents: -1, UUID: "r"},
		"telemetry-younger": {Health: "green", Created: made.Add(time.Minute), Documents: 3, UUID: "y"},
		"telemetry-healthy": {Health: "yellow", Created: made, Documents: 10, UUID: "h"},
	}
	if err := snapshot.Retire(t.Context(), p.Bucket, snapshot.Retired{Index: "telemetry-retired", At: p.began.Add(time.Minute)}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		request RecoverRequest
		want    []string // index, why, and the one that is deleted for it
	}{
		"by default":  {RecoverRequest{}, []string{"missing: missing", "red: red, deletes r", "younger: younger than the snapshot, deletes y"}},
		"replacing":   {RecoverRequest{Replace: true}, []string{"healthy: to be replaced, deletes h", "missing: missing", "red: red, deletes r", "younger: younger than the snapshot, deletes y"}},
		"some":        {RecoverRequest{Indices: []string{"telemetry-h*", "telemetry-m*"}}, []string{"missing: missing"}},
		"beside them": {RecoverRequest{Into: "copy"}, []string{"healthy: missing", "missing: missing", "red: missing", "younger: missing"}},
	} {
		plan, err := p.PlanRecovery(t.Context(), PlanInput{Request: c.request})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, one := range plan.Restore {
			line := strings.TrimPrefix(one.Name, "telemetry-") + ": " + one.Why
			if one.Delete {
				line += ", deletes " + one.UUID
			}
			got = append(got, line)
		}
		if !slices.Equal(got, c.want) || plan.Keep["telemetry-retired"] == "" || len(plan.Restore)+len(plan.Keep) != len(taken.Indices) {
			t.Errorf("%s: it restores %q and keeps %v, want %q", name, got, plan.Keep, c.want)
		}
	}
}

// TestWhichSnapshotIsRestored: the last good one, the last before a time, or the
// one that is named, and one that is suspect only when it is named.
func TestWhichSnapshotIsRestored(t *testing.T) {
	p := newPlanner(t)
	for name, r := range map[string]snapshot.Record{
		"first":   {Started: p.began, State: snapshot.Success},
		"second":  {Started: p.began.Add(10 * time.Minute), State: snapshot.Success},
		"partial": {Started: p.began.Add(20 * time.Minute), State: "PARTIAL"},
		"suspect": {Started: p.began.Add(30 * time.Minute), State: snapshot.Success, Suspect: "telemetry-a has vanished"},
	} {
		r.Name, r.Repository = name, p.Repository
		if err := snapshot.Open(p.Bucket, p.Repository).Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for want, request := range map[string]RecoverRequest{
		"second": {}, "first": {Before: p.began.Add(5 * time.Minute)}, "suspect": {Snapshot: "suspect"}, "": {NoSnapshot: true},
	} {
		plan, err := p.PlanRecovery(t.Context(), PlanInput{Request: request})
		if err != nil || plan.Snapshot != want {
			t.Errorf("of %+v it restores %q, want %q: %v", request, plan.Snapshot, want, err)
		}
		if warned := strings.Contains(strings.Join(plan.Warnings, ""), "telemetry-a has vanished"); warned != (want == "suspect") {
			t.Errorf("of %+v it warns %q", request, plan.Warnings)
		}
	}
	for text, request := range map[string]RecoverRequest{
		"its state is PARTIAL": {Snapshot: "partial"}, "starter snapshot list": {Before: p.began.Add(-time.Minute)},
	} {
		if said := p.refused(PlanInput{Request: request}); !strings.Contains(said, text) {
			t.Errorf("of %+v it says %q", request, said)
		}
	}
	if _, err := p.PlanRecovery(t.Context(), PlanInput{Request: RecoverRequest{Snapshot: "none"}}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("of a snapshot that is not there it says %v", err)
	}
}
