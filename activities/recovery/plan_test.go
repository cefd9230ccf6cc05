package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/internal/deadletter"
	"millrace/internal/index"
	"millrace/internal/ledger"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
)

// TestANewClusterIsToldOfTheRepository: by what was written down of it when a
// snapshot was taken. A dry run changes nothing.
func TestANewClusterIsToldOfTheRepository(t *testing.T) {
	p := newPlanner(t)
	p.record(snapshot.Record{})
	p.cluster.none = true
	if text := p.refused(PlanInput{}); !strings.Contains(text, "the cluster has no repository nightly, and no snapshot has written down what it is") {
		t.Errorf("without knowing it, it says %q", text)
	}
	if err := p.Bucket.Put(t.Context(), snapshot.RepositoryKey("nightly"), []byte(`{"name":"nightly","type":"fs","settings":{"location":"there"}}`)); err != nil {
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

// TestARecoveryThatMeetsAPausedWorkflowChangesNothing: a workflow that is paused in
// Temporal answers no query and obeys no command, so a plan would be tried again for ever.
func TestARecoveryThatMeetsAPausedWorkflowChangesNothing(t *testing.T) {
	const shard = "shardId-000000000000"
	p := newPlanner(t)
	p.record(snapshot.Record{})
	p.paused = map[string]bool{shard: true}
	for name, in := range map[string]PlanInput{
		"a recovery": {}, "a dry run": {DryRun: true}, "beside": {Request: RecoverRequest{Into: "copy"}},
	} {
		if text := p.refused(in); !strings.Contains(text, shard+" is paused") {
			t.Errorf("%s: it says %q", name, text)
		}
	}
	if len(p.cluster.made) > 0 {
		t.Errorf("it made %+v", p.cluster.made)
	}
	if _, err := p.PlanRecovery(t.Context(), PlanInput{Freeze: true, Reached: p.reached}); err != nil {
		t.Errorf("once the shards have said how far they are: %v", err)
	}
}

// TestWhatCameHomeFromTheLedgerIsListed: of more entries than are read at once,
// those of which records were indexed since the snapshot: neighbours, scattered or
// parked ones.
func TestWhatCameHomeFromTheLedgerIsListed(t *testing.T) {
	p := newPlanner(t)
	p.record(snapshot.Record{})
	p.Ledger = ledger.New(p.Bucket.(*archive.Bucket), recoverStream.Name)
	const entries = 3*deadletter.EntriesAtOnce + 2
	var want []string
	for n := range entries {
		e := ledger.Entry{
			Kind: ledger.Bulk, Range: telemetry.Range{StreamCreated: recoverStream.Created, Shard: "shardId-000000000000", First: made.Sequence(n), Last: made.Sequence(n), Count: 1},
			Records: []ledger.Record{{ID: made.Sequence(n), Sequence: made.Sequence(n)}},
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
		how := []string{ledger.HowIndexed, ledger.HowSuperseded}[n%2]
		if err := p.Ledger.Resolve(t.Context(), key, ledger.Resolution{How: how, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		if how == ledger.HowIndexed {
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
	known := telemetry.Range{StreamCreated: recoverStream.Created, Shard: "shardId-000000000000", First: made.Sequence(2), Last: made.Sequence(3), Count: 2}
	p.record(snapshot.Record{Open: []telemetry.Range{known}})
	late := known
	late.First, late.Last = made.Sequence(4), made.Sequence(5)
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
	p.open[1].Last = made.Sequence(6) // as if it were listed only now
	if plan, err = p.ExtendWindow(t.Context(), ExtendInput{Papers: plan.Papers, Reached: p.reached}); err != nil || !wants(plan.Papers, made.Sequence(6)) {
		t.Errorf("extended without it: %v", err)
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
		if err := chain.Add(backup.Record{Sequence: made.Sequence(n), Arrived: time.Now(), Data: made.Record(n)}); err != nil {
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
