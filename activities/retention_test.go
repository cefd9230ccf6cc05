package activities

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/index"
	"millrace/internal/snapshot"
)

func TestOnlyWhatIsCoveredIsDeleted(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	old, older, fresh, undated := s.index("2026.01.02"), s.index("2026.01.01"), s.index(time.Now().UTC().Format("2006.01.02")), s.index("undated")
	for _, index := range []string{old, fresh, undated} {
		s.fill(index, 2)
	}
	call := RetentionCall{Repository: s.call.Repository.Name, Indices: s.call.Indices, Days: map[string]int{s.kind: 10}}
	got := must(t, s.EnforceRetention, call)
	if len(got.Deleted) != 0 || len(got.Uncovered) != 1 || got.Uncovered[0] != old+": there is no good snapshot" {
		t.Errorf("without any snapshot: %+v", got)
	}
	if look := s.take("one"); look.State != snapshot.Success {
		t.Fatalf("%+v", look)
	}
	s.fill(old, 1) // since then
	s.fill(older, 1)
	got = must(t, s.EnforceRetention, call)
	if len(got.Deleted) != 0 || len(got.Uncovered) != 2 ||
		got.Uncovered[0] != older+": it is not in the last good snapshot, one" ||
		got.Uncovered[1] != old+": the last good snapshot, one, has 2 of its 3 documents for certain" {
		t.Errorf("behind the snapshot: %+v", got)
	}
	// The backup may have what the snapshot does not.
	s.Backup, s.lacks = s, "it is behind"
	if got = must(t, s.EnforceRetention, call); len(got.Deleted) != 0 || !strings.Contains(got.Uncovered[1], "and the backup may not have all from 2026-11-23T01:02:03Z to 2026-11-23T01:02:03Z: it is behind") {
		t.Errorf("with a backup that is behind: %+v", got)
	}
	s.lacks = ""
	call.DryRun = true
	if got = must(t, s.EnforceRetention, call); !slices.Equal(got.Deleted, []string{older, old}) || got.Documents != 4 || len(got.Uncovered) != 0 {
		t.Errorf("a dry run: %+v", got)
	}
	if states, err := s.Cluster.Indices(t.Context(), s.call.Indices...); err != nil || len(states) != 4 {
		t.Errorf("it has left %v, %v", states, err)
	}
	s.Backup, call.DryRun = nil, false

	if look := s.take("two"); look.State != snapshot.Success {
		t.Fatalf("%+v", look)
	}
	if got = must(t, s.EnforceRetention, call); !slices.Equal(got.Deleted, []string{older, old}) || len(got.Uncovered) != 0 {
		t.Errorf("behind the next snapshot: %+v", got)
	}
	states, err := s.Cluster.Indices(t.Context(), s.call.Indices...)
	if err != nil || len(states) != 2 || states[fresh].Documents != 2 || states[undated].Documents != 2 {
		t.Errorf("it has left %v, %v", states, err)
	}
	retired, found, err := snapshot.RetiredIndex(t.Context(), s.Bucket, old)
	if err != nil || !found || retired.Covered != "two" || retired.Documents != 3 {
		t.Errorf("it has written down %+v, %v, %v", retired, found, err)
	}
	// That is no loss.
	if look := s.take("three"); look.State != snapshot.Success || look.Suspect != "" {
		t.Errorf("behind the deletion: %+v", look)
	}
	// A late record makes the index anew: the snapshot that had the old one does not cover it.
	s.fill(old, 1)
	if got = must(t, s.EnforceRetention, call); len(got.Deleted) != 0 || len(got.Uncovered) != 1 {
		t.Errorf("come again: %+v", got)
	}
}

func TestAnIndexThatCannotBeCountedStays(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	old := s.index("2026.01.02")
	s.fill(old, 1)
	if look := s.take("one"); look.State != snapshot.Success {
		t.Fatalf("%+v", look)
	}
	s.http(http.MethodPost, "/"+old+"/_close", "")
	call := RetentionCall{Repository: s.call.Repository.Name, Indices: s.call.Indices, Days: map[string]int{s.kind: 10}}
	if got := must(t, s.EnforceRetention, call); len(got.Deleted) != 0 || len(got.Uncovered) != 1 || !strings.Contains(got.Uncovered[0], "it is closed, or red") {
		t.Errorf("%+v", got)
	}
	// In a snapshot it counts as it was.
	if look := s.take("two"); look.State != snapshot.Success || look.Suspect != "" || s.record("two").Documents() != 1 {
		t.Errorf("%+v", look)
	}
}

// asking is a backup that notes which times it is asked about, and fails for
// those before a time.
type asking struct {
	from   []time.Time
	before time.Time
}

func (a *asking) Lacks(_ context.Context, from, _ time.Time) (string, error) {
	a.from = append(a.from, from)
	if from.Before(a.before) {
		return "", errors.New("the bucket is away")
	}
	return "", nil
}

// TestAnIndexThatCannotBeJudgedHoldsUpNoOther: one without documents has nothing
// to lose, one whose documents do not say when they came stays, and one about
// which the backup cannot be asked is tried again.
func TestAnIndexThatCannotBeJudgedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	empty, foreign, unanswered, old := s.index("2026.01.01"), s.index("2026.01.02"), s.index("2026.01.03"), s.index("2026.01.04")
	s.http(http.MethodPut, "/"+empty, "")
	s.http(http.MethodPost, "/"+foreign+"/_doc", `{"@timestamp":"2026-01-02T00:00:00Z"}`)
	s.http(http.MethodPost, "/"+unanswered+"/_doc", `{"@timestamp":"2026-01-03T00:00:00Z","received_at":"2026-01-03T01:02:03Z"}`)
	s.fill(old, 1)
	backup := &asking{before: time.Date(2026, 1, 4, 0, 0, 0, 0, time.UTC)}
	s.Backup = backup
	call := RetentionCall{Repository: s.call.Repository.Name, Indices: s.call.Indices, Days: map[string]int{s.kind: 10}}
	if _, err := execute(t, s.EnforceRetention, call); err == nil || !strings.Contains(err.Error(), "the bucket is away") {
		t.Errorf("that the backup did not answer ends as %v", err)
	}
	for _, from := range backup.from {
		if from.Year() < 2026 {
			t.Errorf("the backup was asked what came since %s", from)
		}
	}
	states, err := s.Cluster.Indices(t.Context(), s.call.Indices...)
	if got := index.Names(states); err != nil || !slices.Equal(got, []string{foreign, unanswered}) {
		t.Errorf("it has left %v, %v", got, err)
	}
	backup.before = time.Time{}
	got := must(t, s.EnforceRetention, call)
	if !slices.Equal(got.Deleted, []string{unanswered}) || len(got.Uncovered) != 1 || !strings.Contains(got.Uncovered[0], "none of its documents says when it was received") {
		t.Errorf("%+v", got)
	}
}

func TestPastRetention(t *testing.T) {
	t.Parallel()
	days := map[string]int{"span": 2}
	for name, want := range map[string]bool{
		"telemetry-span-2026.11.20": true, "telemetry-span-2026.11.21": true, "telemetry-span-2026.11.22": false,
		"telemetry-span-undated": false, "telemetry-log-2020.01.01": false, "telemetry-span-2020.01.01-copy": false, "other-2020.01.01": false,
	} {
		if got := past(name, days, time.Date(2026, 11, 24, 0, 0, 1, 0, time.UTC)); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
