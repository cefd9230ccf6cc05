package snapshots

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"millrace/internal/index"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
	"millrace/test/kit/made"
	"millrace/test/kit/runs"
)

// TestARangeThatIsListedLateIsInTheSnapshot: Temporal may list a batch only when
// the snapshot is begun, or after its end.
func TestARangeThatIsListedLateIsInTheSnapshot(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.open = []telemetry.Range{made.Range("1", "5", 3)}
	s.Fill(s.Index("2026.11.23"), 1)
	call := s.call
	call.Name = "one"
	runs.Must(t, s.PlanSnapshot, call)
	runs.Must(t, s.BeginSnapshot, call)
	s.open = append(s.open, made.Range("6", "7", 2))
	if look := s.follow("one"); look.State != snapshot.Success {
		t.Fatalf("%+v", look)
	}
	if got := s.record("one").Open; len(got) != 2 {
		t.Errorf("at its end it has %v", got)
	}
	s.open = []telemetry.Range{made.Range("8", "9", 2)} // the others have ended
	call.Name = "two"
	runs.Must(t, s.PlanSnapshot, call)
	if got := s.record("one").Open; len(got) != 3 {
		t.Errorf("when the next one is taken it has %v", got)
	}
}

func TestASnapshotKeepsWhatWasBeforeIt(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.open = []telemetry.Range{made.Range("1", "5", 3)}
	today := s.Index("2026.11.23")
	s.Fill(today, 3)
	s.Fill(today+"-copy", 5) // of a restore: no telemetry
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
	s.Fill(s.Index("2026.11.24"), 1)
	s.Fill(today, 1)
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
	s.Fill(s.Index("2026.11.23"), 2)
	call := s.call
	call.Name = "one"
	runs.Must(t, s.PlanSnapshot, call)
	s.open = []telemetry.Range{made.Range("1", "5", 3)}
	runs.Must(t, s.BeginSnapshot, call)
	before := s.record("one")
	s.open = nil
	s.Fill(s.Index("2026.11.24"), 2)
	if begun := runs.Must(t, s.BeginSnapshot, call); begun.Open != 1 || begun.Indices != 1 || begun.Documents != 2 {
		t.Errorf("begun again, it is %+v", begun)
	}
	if after := s.record("one"); !after.Started.Equal(before.Started) {
		t.Errorf("it began at %s, now at %s", before.Started, after.Started)
	}
	if look := s.follow("one"); look.State != snapshot.Success {
		t.Errorf("%+v", look)
	}
	// And planning again, by a retry that is late, changes nothing.
	if plan := runs.Must(t, s.PlanSnapshot, call); plan.State != snapshot.Success {
		t.Errorf("planned again, it is %+v", plan)
	}
}

func TestAPartialSnapshotIsNoSuccess(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.Fill(s.Index("2026.11.22"), 2)
	red := s.Index("2026.11.23")
	s.HTTP(http.MethodPut, "/"+red+"?wait_for_active_shards=0", `{"settings":{"index.routing.allocation.require._name":"no-node"}}`)
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
	if _, err := runs.Execute(t, s.PlanSnapshot, call); err == nil || !strings.Contains(err.Error(), "create repository") || !strings.Contains(err.Error(), "path.repo") {
		t.Errorf("outside of path.repo: %v", err)
	}
	call.Repository = index.Repository{Name: s.call.Repository.Name} // as without any input
	if _, err := runs.Execute(t, s.PlanSnapshot, call); err == nil || !strings.Contains(err.Error(), "the type is missing: s3, or fs") {
		t.Errorf("without a type: %v", err)
	}
	call.Repository = s.call.Repository
	runs.Must(t, s.PlanSnapshot, call)
	call.Repository = index.Repository{Name: s.call.Repository.Name}
	call.Name = "two"
	runs.Must(t, s.PlanSnapshot, call) // it is there now
}

func TestWhatVanishesMakesSnapshotsSuspectUntilItIsBack(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	yesterday, today := s.Index("2026.11.22"), s.Index("2026.11.23")
	s.Fill(yesterday, 3)
	s.Fill(today, 2)
	if look := s.take("good"); look.Suspect != "" {
		t.Fatalf("%+v", look)
	}
	s.HTTP(http.MethodDelete, "/"+today, "")
	if look := s.take("vanished"); look.State != snapshot.Success || !strings.Contains(look.Suspect, today+" with 2 documents has vanished") {
		t.Errorf("once it is gone: %+v", look)
	}
	s.Fill(today, 9) // as live traffic does
	if look := s.take("again"); !strings.Contains(look.Suspect, today+" was deleted and made again") {
		t.Errorf("once it has come again: %+v", look)
	}
	if got, err := s.catalog.LastGood(t.Context(), time.Time{}); err != nil || got.Name != "good" {
		t.Errorf("a recovery would choose %s, %v", got.Name, err)
	}
	// Nothing is deleted meanwhile, however old.
	if got := runs.Must(t, s.ExpireSnapshots, ExpireCall{s.call.Repository.Name, snapshot.Retention{KeepAll: model.Duration(time.Millisecond), KeepDaily: model.Duration(time.Millisecond)}}); got.Deleted != 0 || got.Kept != 3 {
		t.Errorf("expired: %+v", got)
	}
	s.HTTP(http.MethodDelete, "/"+today, "")
	if err := s.Cluster.StartRestore(t.Context(), s.call.Repository.Name, "good", index.Restore{Indices: []string{today}}); err != nil {
		t.Fatal(err)
	}
	s.HTTP(http.MethodGet, "/_cluster/health/"+today+"?wait_for_status=green&timeout=60s", "")
	if look := s.take("recovered"); look.State != snapshot.Success || look.Suspect != "" {
		t.Errorf("once it is restored: %+v", look)
	}
	// Then they go: all but the last good one.
	if got := runs.Must(t, s.ExpireSnapshots, ExpireCall{s.call.Repository.Name, snapshot.Retention{KeepAll: model.Duration(time.Millisecond), KeepDaily: model.Duration(time.Millisecond)}}); got.Deleted != 3 || got.Kept != 1 {
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
	first, second := s.Index("2026.11.23"), s.Index("2026.11.24")
	s.Fill(first, 3)
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
	s.Fill(second, 2)
	note(first)
	note(second)
	if look := s.take("both"); look.Suspect != "" {
		t.Errorf("while both are there: %+v", look)
	}
	third := s.Index("2026.11.25")
	s.Fill(third, 4)
	note(third)
	s.HTTP(http.MethodDelete, "/"+third, "")
	if look := s.take("without"); !strings.Contains(look.Suspect, third+" of ") || !strings.Contains(look.Suspect, "has vanished") {
		t.Errorf("once it is gone: %+v", look)
	}
	s.Fill(third, 1) // as live traffic does
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
	s.Fill(s.Index("2026.11.23"), 2)
	call := s.call
	call.Name = "begun"
	runs.Must(t, s.PlanSnapshot, call)
	runs.Must(t, s.BeginSnapshot, call)
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
	plan := runs.Must(t, s.PlanSnapshot, call)
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
	s.Fill(s.Index("2026.11.23"), 2)
	call := s.call
	call.Name = "one"
	abandon := func(ctx context.Context, in SnapshotCall) (bool, error) { return true, s.AbandonSnapshot(ctx, in) }
	runs.Must(t, abandon, call) // before there is any
	runs.Must(t, s.PlanSnapshot, call)
	runs.Must(t, s.BeginSnapshot, call)
	runs.Must(t, abandon, call)
	if got := s.record("one"); got.State != snapshot.Failed || got.Reason != "its run was canceled" {
		t.Errorf("%+v", got)
	}
	if _, err := s.Cluster.GetSnapshot(t.Context(), s.call.Repository.Name, "one"); !errors.Is(err, index.ErrMissing) {
		t.Errorf("in the cluster: %v", err)
	}
	if look := runs.Must(t, s.FollowSnapshot, call); look.State != snapshot.Failed {
		t.Errorf("%+v", look)
	}
}
