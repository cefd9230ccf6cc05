package snapshots

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/index"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
	"millrace/test/kit/runs"
)

// oldDay is a day on which indices were filled that are past their retention.
var oldDay = time.Date(2026, 1, 2, 1, 2, 3, 0, time.UTC)

func TestOnlyWhatIsCoveredIsDeleted(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	old, older, fresh, undated := s.Index("2026.01.02"), s.Index("2026.01.01"), s.Index(time.Now().UTC().Format("2006.01.02")), s.Index("undated")
	for _, index := range []string{old, fresh, undated} {
		s.FillAt(index, 2, oldDay)
	}
	call := RetentionCall{Repository: s.call.Repository.Name, Indices: s.call.Indices, Days: map[string]int{s.Kind: 10}}
	got := runs.Must(t, s.EnforceRetention, call)
	if len(got.Deleted) != 0 || len(got.Uncovered) != 1 || got.Uncovered[0] != old+": there is no good snapshot" {
		t.Errorf("without any snapshot: %+v", got)
	}
	if look := s.take("one"); look.State != snapshot.Success {
		t.Fatalf("%+v", look)
	}
	s.FillAt(old, 1, oldDay) // since then
	s.FillAt(older, 1, oldDay)
	got = runs.Must(t, s.EnforceRetention, call)
	if len(got.Deleted) != 0 || len(got.Uncovered) != 2 ||
		got.Uncovered[0] != older+": it is not in the last good snapshot, one" ||
		got.Uncovered[1] != old+": the last good snapshot, one, has 2 of its 3 documents for certain" {
		t.Errorf("behind the snapshot: %+v", got)
	}
	// The backup may have what the snapshot does not.
	s.Backup, s.lacks = s, "it is behind"
	if got = runs.Must(t, s.EnforceRetention, call); len(got.Deleted) != 0 || !strings.Contains(got.Uncovered[1], "and the backup may not have all from 2026-01-02T01:02:03Z to 2026-01-02T01:02:04Z: it is behind") {
		t.Errorf("with a backup that is behind: %+v", got)
	}
	s.lacks = ""
	call.DryRun = true
	if got = runs.Must(t, s.EnforceRetention, call); !slices.Equal(got.Deleted, []string{older, old}) || got.Documents != 4 || len(got.Uncovered) != 0 {
		t.Errorf("a dry run: %+v", got)
	}
	if states, err := s.Cluster.Indices(t.Context(), s.call.Indices...); err != nil || len(states) != 4 {
		t.Errorf("it has left %v, %v", states, err)
	}
	s.Backup, call.DryRun = nil, false

	if look := s.take("two"); look.State != snapshot.Success {
		t.Fatalf("%+v", look)
	}
	if got = runs.Must(t, s.EnforceRetention, call); !slices.Equal(got.Deleted, []string{older, old}) || len(got.Uncovered) != 0 {
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
	s.FillAt(old, 1, oldDay)
	if got = runs.Must(t, s.EnforceRetention, call); len(got.Deleted) != 0 || len(got.Uncovered) != 1 {
		t.Errorf("come again: %+v", got)
	}
}

func TestAnIndexThatCannotBeCountedStays(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	old := s.Index("2026.01.02")
	s.FillAt(old, 1, oldDay)
	if look := s.take("one"); look.State != snapshot.Success {
		t.Fatalf("%+v", look)
	}
	s.HTTP(http.MethodPost, "/"+old+"/_close", "")
	call := RetentionCall{Repository: s.call.Repository.Name, Indices: s.call.Indices, Days: map[string]int{s.Kind: 10}}
	if got := runs.Must(t, s.EnforceRetention, call); len(got.Deleted) != 0 || len(got.Uncovered) != 1 || !strings.Contains(got.Uncovered[0], "it is closed, or red") {
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
	empty, foreign, unanswered, old := s.Index("2026.01.01"), s.Index("2026.01.02"), s.Index("2026.01.03"), s.Index("2026.01.04")
	s.HTTP(http.MethodPut, "/"+empty, "")
	s.HTTP(http.MethodPost, "/"+foreign+"/_doc", `{"@timestamp":"2026-01-02T00:00:00Z"}`)
	s.HTTP(http.MethodPost, "/"+unanswered+"/_doc", `{"@timestamp":"2026-01-03T00:00:00Z","received_at":"2026-01-03T01:02:03Z"}`)
	s.FillAt(old, 1, oldDay.AddDate(0, 0, 2))
	backup := &asking{before: time.Date(2026, 1, 4, 0, 0, 0, 0, time.UTC)}
	s.Backup = backup
	call := RetentionCall{Repository: s.call.Repository.Name, Indices: s.call.Indices, Days: map[string]int{s.Kind: 10}}
	if _, err := runs.Execute(t, s.EnforceRetention, call); err == nil || !strings.Contains(err.Error(), "the bucket is away") {
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
	got := runs.Must(t, s.EnforceRetention, call)
	if !slices.Equal(got.Deleted, []string{unanswered}) || len(got.Uncovered) != 1 || !strings.Contains(got.Uncovered[0], "none of its documents says when it was received") {
		t.Errorf("%+v", got)
	}
}

// TestADailyIndexGoesByTheDayOnWhichItLastReceived a document, where that is
// newer than the day in its name. What recoveries write is no such day.
func TestADailyIndexGoesByTheDayOnWhichItLastReceived(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.Backup = s // has everything
	late, restored := s.Index("2026.01.01"), s.Index("2026.01.02")
	s.FillAt(late, 1, oldDay)
	s.FillAt(late, 1, time.Now().AddDate(0, 0, -10))
	s.HTTP(http.MethodPost, "/"+restored+"/_doc", fmt.Sprintf(`{"@timestamp":"2026-01-02T00:00:00Z","received_at":"2026-01-02T01:02:03.000Z","indexed_at":%q}`,
		time.Now().UTC().Format(telemetry.ReceivedAtLayout)))
	call := RetentionCall{Repository: s.call.Repository.Name, Indices: s.call.Indices, Days: map[string]int{s.Kind: 10}}
	if got := runs.Must(t, s.EnforceRetention, call); !slices.Equal(got.Deleted, []string{restored}) || len(got.Uncovered) != 0 {
		t.Errorf("ten days later it deletes %+v", got)
	}
	call.Days[s.Kind] = 9
	if got := runs.Must(t, s.EnforceRetention, call); !slices.Equal(got.Deleted, []string{late}) {
		t.Errorf("of those that are kept for nine days it deletes %+v", got)
	}
}

// TestWhatComesWhileAnIndexIsDeletedKeepsIt: what it has is counted once more when
// nothing can come any more.
func TestWhatComesWhileAnIndexIsDeletedKeepsIt(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	old := s.Index("2026.01.02")
	s.FillAt(old, 1, oldDay)
	s.Backup = lateComer{s, old}
	call := RetentionCall{Repository: s.call.Repository.Name, Indices: s.call.Indices, Days: map[string]int{s.Kind: 10}}
	if got := runs.Must(t, s.EnforceRetention, call); len(got.Deleted) != 0 || len(got.Uncovered) != 0 {
		t.Errorf("%+v", got)
	}
	s.FillAt(old, 1, oldDay) // it takes writes again
	s.Backup = s
	if got := runs.Must(t, s.EnforceRetention, call); !slices.Equal(got.Deleted, []string{old}) || got.Documents != 3 {
		t.Errorf("the next run deletes %+v", got)
	}
}

// lateComer is a backup that has everything, and a document that comes while it
// is asked.
type lateComer struct {
	*safe
	index string
}

func (l lateComer) Lacks(context.Context, time.Time, time.Time) (string, error) {
	l.FillAt(l.index, 1, oldDay)
	return "", nil
}

func TestExpired(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		day  time.Time
		want bool
	}{
		{time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), true}, {time.Date(2026, 11, 21, 23, 59, 59, 0, time.UTC), true},
		{time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), false}, {now.AddDate(1, 0, 0), false},
	} {
		if got := expired(c.day, 2, now); got != c.want {
			t.Errorf("what came at %s is past two days of retention at %s: %v", c.day, now, got)
		}
		if same := c.day.Before(oldest(2, now)); same != c.want {
			t.Errorf("a document of %s and an index of that day are not judged alike", c.day)
		}
	}
}
