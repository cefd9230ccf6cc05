package activities

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/prometheus/common/model"
	"go.temporal.io/sdk/testsuite"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/index"
	"millrace/internal/snapshot"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// safe is a real Elasticsearch and a real bucket, with a repository and
// indices of its own, and a stream that is made up.
type safe struct {
	*testing.T
	*Snapshotter
	url     string
	kind    string // of its records
	call    SnapshotCall
	asked   []string // of ShardPositions, in order
	open    []telemetry.Range
	lacks   string
	catalog *snapshot.Catalog
}

func newSafe(t *testing.T) *safe {
	t.Helper()
	name := localtest.Name(t, "")
	s := &safe{T: t, url: localtest.Elasticsearch(t), kind: name}
	documents, err := index.Open(index.Settings{URLs: []string{s.url}})
	if err == nil {
		err = documents.Setup(t.Context(), index.Layout{Shards: 1})
	}
	if err != nil {
		t.Fatal(err)
	}
	objects := s3.NewFromConfig(localtest.AWS(t), func(o *s3.Options) { o.UsePathStyle = true })
	if _, err := archive.Create(t.Context(), objects, name); err != nil {
		t.Fatal(err)
	}
	bucket := archive.Open(objects, name)
	s.Snapshotter = &Snapshotter{
		Stream: telemetry.StreamID{Name: "telemetry", ARN: "arn", Created: arrival}, Shards: oneShard{}, Workflows: s, Cluster: documents, Bucket: bucket,
	}
	s.catalog = snapshot.Open(bucket, name)
	s.call = SnapshotCall{
		Repository: index.Repository{Name: name, Type: "fs", Settings: map[string]string{"location": name}},
		Indices:    []string{telemetry.IndexPrefix + name + "-*"},
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		states, err := documents.Indices(ctx, s.call.Indices...)
		for _, name := range index.Names(states) {
			err = errors.Join(err, documents.DeleteIndex(ctx, name))
		}
		_ = documents.RemoveRepository(ctx, name) // not every test has one
		for key, e := range bucket.Keys(ctx, "") {
			err = errors.Join(err, e, bucket.Delete(ctx, key))
		}
		if err != nil {
			t.Error(err)
		}
	})
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

// http speaks with Elasticsearch past our client.
func (s *safe) http(method, path, body string) {
	s.Helper()
	request, err := http.NewRequestWithContext(s.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := localtest.Client(s).Do(request)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	if answer, _ := io.ReadAll(response.Body); response.StatusCode >= http.StatusMultipleChoices {
		s.Fatalf("%s %s: %s", method, path, answer)
	}
}

// index names an index of a day.
func (s *safe) index(day string) string { return telemetry.IndexPrefix + s.kind + "-" + day }

// fill puts documents into an index.
func (s *safe) fill(index string, documents int) {
	s.Helper()
	s.fillAt(index, documents, time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC))
}

// fillAt puts documents into an index that were received then, and indexed a
// second later.
func (s *safe) fillAt(index string, documents int, received time.Time) {
	s.Helper()
	for range documents {
		s.http(http.MethodPost, "/"+index+"/_doc", fmt.Sprintf(`{"@timestamp":"2026-11-23T00:00:00Z","received_at":%q,"indexed_at":%q}`,
			received.UTC().Format(telemetry.ReceivedAtLayout), received.UTC().Add(time.Second).Format(telemetry.ReceivedAtLayout)))
	}
}

// execute runs an activity once.
func execute[In, Out any](t *testing.T, activity func(context.Context, In) (Out, error), in In) (Out, error) {
	t.Helper()
	env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	env.RegisterActivity(activity)
	var out Out
	encoded, err := env.ExecuteActivity(activity, in)
	if err == nil {
		err = encoded.Get(&out)
	}
	return out, err
}

func must[In, Out any](t *testing.T, activity func(context.Context, In) (Out, error), in In) Out {
	t.Helper()
	out, err := execute(t, activity, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// take takes a snapshot to its end, as SnapshotIndex does.
func (s *safe) take(name string) SnapshotLook {
	s.Helper()
	call := s.call
	call.Name = name
	if plan := must(s.T, s.PlanSnapshot, call); plan.Name != name || plan.State != snapshot.Planned {
		s.Fatalf("planned as %+v", plan)
	}
	must(s.T, s.BeginSnapshot, call)
	return s.follow(name)
}

func (s *safe) follow(name string) SnapshotLook {
	s.Helper()
	call := s.call
	call.Name = name
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		look := must(s.T, s.FollowSnapshot, call)
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

// TestARangeThatIsListedLateIsInTheSnapshot: Temporal may list a batch only when
// the snapshot is begun, or after its end.
func TestARangeThatIsListedLateIsInTheSnapshot(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.open = []telemetry.Range{deadRange("1", "5", 3)}
	s.fill(s.index("2026.11.23"), 1)
	call := s.call
	call.Name = "one"
	must(t, s.PlanSnapshot, call)
	must(t, s.BeginSnapshot, call)
	s.open = append(s.open, deadRange("6", "7", 2))
	if look := s.follow("one"); look.State != snapshot.Success {
		t.Fatalf("%+v", look)
	}
	if got := s.record("one").Open; len(got) != 2 {
		t.Errorf("at its end it has %v", got)
	}
	s.open = []telemetry.Range{deadRange("8", "9", 2)} // the others have ended
	call.Name = "two"
	must(t, s.PlanSnapshot, call)
	if got := s.record("one").Open; len(got) != 3 {
		t.Errorf("when the next one is taken it has %v", got)
	}
}

func TestASnapshotKeepsWhatWasBeforeIt(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.open = []telemetry.Range{deadRange("1", "5", 3)}
	today := s.index("2026.11.23")
	s.fill(today, 3)
	s.fill(today+"-copy", 5) // of a restore: no telemetry
	began := time.Now()
	if look := s.take("one"); look.State != snapshot.Success || look.Suspect != "" || look.Reason != "" {
		t.Fatalf("taken as %+v", look)
	}
	got := s.record("one")
	if strings.Join(s.asked, " ") != "shard open open" { // at the beginning, and again at the end
		t.Errorf("it asked for %v: a range that closes between is in neither", s.asked)
	}
	if len(got.Indices) != 1 || got.Indices[today].Documents != 3 || got.Documents() != 3 || got.Indices[today].Created.IsZero() {
		t.Errorf("its indices are %+v", got.Indices)
	}
	if len(got.Shards) != 1 || got.Shards[0].Checkpoint.Sequence != "7" || got.Shards[0].StreamARN != "arn" || len(got.Open) != 1 || got.Open[0].First != "1" {
		t.Errorf("it keeps %+v, %+v", got.Shards, got.Open)
	}
	if !got.Good() || got.Started.Before(began) || got.Ended.IsZero() {
		t.Errorf("it is %+v", got)
	}
	there, err := s.Cluster.GetSnapshot(t.Context(), s.call.Repository.Name, "one")
	if err != nil || there.State != snapshot.Success || len(there.Indices) != 1 {
		t.Errorf("in the cluster it is %+v, %v", there, err)
	}

	// The next, with a new day.
	s.fill(s.index("2026.11.24"), 1)
	s.fill(today, 1)
	if look := s.take("two"); look.State != snapshot.Success || look.Suspect != "" {
		t.Errorf("the next is %+v", look)
	}
	if got := s.record("two"); got.Documents() != 5 || len(got.Indices) != 2 {
		t.Errorf("it is %+v", got)
	}
}

// A retry whose predecessor has begun the snapshot must not take what is open
// now for what was open then.
func TestBeginningAgainKeepsWhatWasWritten(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.fill(s.index("2026.11.23"), 2)
	call := s.call
	call.Name = "one"
	must(t, s.PlanSnapshot, call)
	s.open = []telemetry.Range{deadRange("1", "5", 3)}
	must(t, s.BeginSnapshot, call)
	before := s.record("one")
	s.open = nil
	s.fill(s.index("2026.11.24"), 2)
	if begun := must(t, s.BeginSnapshot, call); begun.Open != 1 || begun.Indices != 1 || begun.Documents != 2 {
		t.Errorf("begun again, it is %+v", begun)
	}
	if after := s.record("one"); !after.Started.Equal(before.Started) {
		t.Errorf("it began at %s, now at %s", before.Started, after.Started)
	}
	if look := s.follow("one"); look.State != snapshot.Success {
		t.Errorf("%+v", look)
	}
	// And planning again, by a retry that is late, changes nothing.
	if plan := must(t, s.PlanSnapshot, call); plan.State != snapshot.Success {
		t.Errorf("planned again, it is %+v", plan)
	}
}

func TestAPartialSnapshotIsNoSuccess(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.fill(s.index("2026.11.22"), 2)
	red := s.index("2026.11.23")
	s.http(http.MethodPut, "/"+red+"?wait_for_active_shards=0", `{"settings":{"index.routing.allocation.require._name":"nobody"}}`)
	look := s.take("one")
	if look.State != snapshot.Partial || !strings.Contains(look.Reason, "1 of 2 shards are not in it; "+red+" shard 0:") {
		t.Errorf("taken as %+v", look)
	}
	if got := s.record("one"); got.Good() || got.State != snapshot.Partial {
		t.Errorf("it is %+v", got)
	}
	if _, err := s.catalog.LastGood(t.Context(), time.Time{}); !errors.Is(err, snapshot.ErrNone) {
		t.Errorf("a recovery would choose it: %v", err)
	}
}

func TestARepositoryIsMadeOrReported(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	call := s.call
	call.Name = "one"
	call.Repository.Settings = map[string]string{"location": "/nowhere"}
	if _, err := execute(t, s.PlanSnapshot, call); err == nil || !strings.Contains(err.Error(), "create repository") || !strings.Contains(err.Error(), "path.repo") {
		t.Errorf("outside of path.repo: %v", err)
	}
	call.Repository = index.Repository{Name: s.call.Repository.Name} // as without any input
	if _, err := execute(t, s.PlanSnapshot, call); err == nil || !strings.Contains(err.Error(), "the type is missing: s3, or fs") {
		t.Errorf("without a type: %v", err)
	}
	call.Repository = s.call.Repository
	must(t, s.PlanSnapshot, call)
	call.Repository = index.Repository{Name: s.call.Repository.Name}
	call.Name = "two"
	must(t, s.PlanSnapshot, call) // it is there now

	// A cluster that has never heard of it is told by a recovery.
	if err := s.Cluster.RemoveRepository(t.Context(), s.call.Repository.Name); err != nil {
		t.Fatal(err)
	}
	recoverer := &Recoverer{Sweeper: Sweeper{Bucket: s.Bucket.(*archive.Bucket)}, Cluster: s.Cluster}
	if known, err := recoverer.ensureRepository(t.Context(), false, &Plan{Repository: s.call.Repository.Name}); !known || err != nil {
		t.Errorf("known %v, %v", known, err)
	}
	there, err := s.Cluster.GetRepository(t.Context(), s.call.Repository.Name)
	if err != nil || there.Type != "fs" || there.Settings["location"] != s.call.Repository.Settings["location"] {
		t.Errorf("it is %+v now, %v", there, err)
	}
}

func TestWhatVanishesMakesSnapshotsSuspectUntilItIsBack(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	yesterday, today := s.index("2026.11.22"), s.index("2026.11.23")
	s.fill(yesterday, 3)
	s.fill(today, 2)
	if look := s.take("good"); look.Suspect != "" {
		t.Fatalf("%+v", look)
	}
	s.http(http.MethodDelete, "/"+today, "")
	if look := s.take("vanished"); look.State != snapshot.Success || !strings.Contains(look.Suspect, today+" with 2 documents has vanished") {
		t.Errorf("once it is gone: %+v", look)
	}
	s.fill(today, 9) // as live traffic does
	if look := s.take("again"); !strings.Contains(look.Suspect, today+" was deleted and made again") {
		t.Errorf("once it has come again: %+v", look)
	}
	if got, err := s.catalog.LastGood(t.Context(), time.Time{}); err != nil || got.Name != "good" {
		t.Errorf("a recovery would choose %s, %v", got.Name, err)
	}
	// Nothing is deleted meanwhile, however old.
	if got := must(t, s.ExpireSnapshots, ExpireCall{s.call.Repository.Name, snapshot.Retention{KeepAll: model.Duration(time.Millisecond), KeepDaily: model.Duration(time.Millisecond)}}); got.Deleted != 0 || got.Kept != 3 {
		t.Errorf("expired: %+v", got)
	}
	s.http(http.MethodDelete, "/"+today, "")
	if err := s.Cluster.StartRestore(t.Context(), s.call.Repository.Name, "good", index.Restore{Indices: []string{today}}); err != nil {
		t.Fatal(err)
	}
	s.http(http.MethodGet, "/_cluster/health/"+today+"?wait_for_status=green&timeout=60s", "")
	if look := s.take("recovered"); look.State != snapshot.Success || look.Suspect != "" {
		t.Errorf("once it is restored: %+v", look)
	}
	// Then they go: all but the last good one.
	if got := must(t, s.ExpireSnapshots, ExpireCall{s.call.Repository.Name, snapshot.Retention{KeepAll: model.Duration(time.Millisecond), KeepDaily: model.Duration(time.Millisecond)}}); got.Deleted != 3 || got.Kept != 1 {
		t.Errorf("expired: %+v", got)
	}
	there, err := s.Cluster.Snapshots(t.Context(), s.call.Repository.Name)
	if err != nil || len(there) != 1 || there[0].Name != "recovered" {
		t.Errorf("left are %+v, %v", there, err)
	}
}

// TestAnIndexThatComesAndVanishesIsMissed, though no snapshot has ever had it; one
// that retention has deleted is not.
func TestAnIndexThatComesAndVanishesIsMissed(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	first, second := s.index("2026.11.23"), s.index("2026.11.24")
	s.fill(first, 3)
	if look := s.take("good"); look.Suspect != "" {
		t.Fatalf("%+v", look)
	}
	note := func(name string) {
		t.Helper()
		states, err := s.Cluster.Indices(t.Context(), name)
		if err == nil {
			err = snapshot.Note(t.Context(), s.Bucket, snapshot.Noted{Index: name, Created: states[name].Created})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.fill(second, 2)
	note(first)
	note(second)
	if look := s.take("both"); look.Suspect != "" {
		t.Errorf("while both are there: %+v", look)
	}
	third := s.index("2026.11.25")
	s.fill(third, 4)
	note(third)
	s.http(http.MethodDelete, "/"+third, "")
	if look := s.take("without"); !strings.Contains(look.Suspect, third+" of ") || !strings.Contains(look.Suspect, "has vanished") {
		t.Errorf("once it is gone: %+v", look)
	}
	s.fill(third, 1) // as live traffic does
	if look := s.take("again"); !strings.Contains(look.Suspect, third+" of ") || !strings.Contains(look.Suspect, "made again") {
		t.Errorf("once it has come again: %+v", look)
	}
	if err := snapshot.Retire(t.Context(), s.Bucket, snapshot.Retired{Index: third, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if look := s.take("retired"); look.Suspect != "" {
		t.Errorf("once it was deleted by retention: %+v", look)
	}
	notes, err := snapshot.ListNoted(t.Context(), s.Bucket)
	if err != nil || len(notes) != 3 {
		t.Errorf("noted are %+v, %v", notes, err)
	}
}

func TestWhatAnEndedRunLeftIsTakenUp(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.fill(s.index("2026.11.23"), 2)
	call := s.call
	call.Name = "begun"
	must(t, s.PlanSnapshot, call)
	must(t, s.BeginSnapshot, call)
	for _, left := range []snapshot.Record{
		{Name: "never", State: snapshot.InProgress, Started: time.Now().Add(-time.Hour)},
		{Name: "old-plan", State: snapshot.Planned, Started: time.Now().Add(-time.Hour)},
		{Name: "new-plan", State: snapshot.Planned, Started: time.Now()},
	} {
		left.Repository = s.call.Repository.Name
		if err := s.catalog.Put(t.Context(), left); err != nil {
			t.Fatal(err)
		}
	}
	// Wait for the cluster alone: no workflow follows.
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); ; <-tick.C {
		if found, err := s.Cluster.GetSnapshot(t.Context(), s.call.Repository.Name, "begun"); err == nil && found.State == snapshot.Success {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the snapshot does not end")
		}
	}
	call.Name = "next"
	plan := must(t, s.PlanSnapshot, call)
	if plan.Name != "next" || plan.State != snapshot.Planned {
		t.Errorf("planned as %+v", plan)
	}
	for name, want := range map[string]string{
		"begun": snapshot.Success, "never": snapshot.Failed, "old-plan": snapshot.Failed, "new-plan": snapshot.Planned, "next": snapshot.Planned,
	} {
		if got := s.record(name); got.State != want {
			t.Errorf("%s is %s, want %s (%s)", name, got.State, want, got.Reason)
		}
	}
	if !s.record("begun").Good() {
		t.Error("a snapshot that no workflow followed is not good")
	}
}

func TestACanceledSnapshotIsNoneAnyMore(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.fill(s.index("2026.11.23"), 2)
	call := s.call
	call.Name = "one"
	abandon := func(ctx context.Context, in SnapshotCall) (bool, error) { return true, s.AbandonSnapshot(ctx, in) }
	must(t, abandon, call) // before there is any
	must(t, s.PlanSnapshot, call)
	must(t, s.BeginSnapshot, call)
	must(t, abandon, call)
	if got := s.record("one"); got.State != snapshot.Failed || got.Reason != "its run was canceled" {
		t.Errorf("%+v", got)
	}
	if _, err := s.Cluster.GetSnapshot(t.Context(), s.call.Repository.Name, "one"); !errors.Is(err, index.ErrMissing) {
		t.Errorf("in the cluster: %v", err)
	}
	if look := must(t, s.FollowSnapshot, call); look.State != snapshot.Failed {
		t.Errorf("%+v", look)
	}
}
