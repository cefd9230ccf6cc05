package snapshots

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/snapshot"
	"millrace/test/kit/runs"
)

// documents counts those of an index; -1 without it.
func (s *safe) documents(name string) int64 {
	s.Helper()
	if err := s.Cluster.Refresh(s.Context(), name+"*"); err != nil {
		s.Fatal(err)
	}
	states, err := s.Cluster.Indices(s.Context(), name+"*")
	if err != nil {
		s.Fatal(err)
	}
	if state, there := states[name]; there {
		return state.Documents
	}
	return -1
}

func (s *safe) trimCall(keep int) TrimCall {
	return TrimCall{For: time.Hour, RetentionCall: RetentionCall{
		Repository: s.call.Repository.Name, Indices: s.call.Indices, Days: map[string]int{s.Kind: keep},
	}}
}

// TestIndicesOfNoDayAreTrimmed by the day on which each document was received.
func TestIndicesOfNoDayAreTrimmed(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	year, undated, daily := s.Index("2024"), s.Index("undated"), s.Index("2026.01.02")
	for _, name := range []string{year, undated, daily} {
		s.FillAt(name, 3, oldDay)
		s.FillAt(name, 2, time.Now().AddDate(0, 0, -10))
	}
	s.HTTP(http.MethodPost, "/"+undated+"/_doc", `{"@timestamp":"2026-01-02T00:00:00Z"}`) // who wrote that?
	call := s.trimCall(10)
	got := runs.Must(t, s.TrimIndices, call)
	if len(got.Trimmed) != 0 || len(got.Uncovered) != 2 || got.Uncovered[0] != year+": 3 documents: there is no good snapshot" {
		t.Errorf("without any snapshot: %+v", got)
	}
	if look := s.take("one"); look.State != snapshot.Success {
		t.Fatalf("%+v", look)
	}
	call.DryRun = true
	want := []Trim{{Index: year, Documents: 3}, {Index: undated, Documents: 3}}
	if got = runs.Must(t, s.TrimIndices, call); !slices.Equal(got.Trimmed, want) || len(got.Uncovered) != 0 {
		t.Errorf("a dry run: %+v", got)
	}
	call.DryRun = false
	if got = runs.Must(t, s.TrimIndices, call); !slices.Equal(got.Trimmed, want) || len(got.Deleted) != 0 || len(got.Uncovered) != 0 {
		t.Errorf("behind the snapshot: %+v", got)
	}
	for name, want := range map[string]int64{year: 2, undated: 3, daily: 5} {
		if got := s.documents(name); got != want {
			t.Errorf("%s has %d documents left, want %d", name, got, want)
		}
	}
	// That is no loss, and nothing else may hide behind it.
	if look := s.take("two"); look.Suspect != "" {
		t.Errorf("behind it: %+v", look)
	}
}

// TestALossBesideATrimIsSeen: a snapshot knows to the document what retention has
// deleted.
func TestALossBesideATrimIsSeen(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.Backup = s // has everything
	year := s.Index("2024")
	s.HTTP(http.MethodPut, "/"+year+"/_doc/lost", `{"@timestamp":"2024-01-02T00:00:00Z","received_at":"2026-11-23T01:02:03.000Z"}`)
	s.FillAt(year, 3, oldDay)
	s.FillAt(year, 2, time.Now())
	if look := s.take("one"); look.Suspect != "" {
		t.Fatalf("%+v", look)
	}
	runs.Must(t, s.TrimIndices, s.trimCall(60))
	s.HTTP(http.MethodDelete, "/"+year+"/_doc/lost", "")
	if look := s.take("two"); !strings.Contains(look.Suspect, year+" has shrunk from 6 to 2 documents") {
		t.Errorf("%+v", look)
	}
}

// TestAnEmptyIndexOfAYearGoes, once that year is past its retention; one that is
// undated stays.
func TestAnEmptyIndexOfAYearGoes(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.Backup = s // has everything
	past, present, undated := s.Index("2024"), s.Index(time.Now().UTC().Format("2006")), s.Index("undated")
	for _, name := range []string{past, present, undated} {
		s.FillAt(name, 2, oldDay)
	}
	got := runs.Must(t, s.TrimIndices, s.trimCall(10))
	if !slices.Equal(got.Deleted, []string{past}) || got.Documents != 0 || len(got.Trimmed) != 3 {
		t.Errorf("%+v", got)
	}
	if s.documents(past) != -1 || s.documents(present) != 0 || s.documents(undated) != 0 {
		t.Error("the index of a year that is over did not go, or another one did")
	}
	if retired, found, err := snapshot.RetiredIndex(t.Context(), s.Bucket, past); err != nil || !found || retired.Documents != 0 {
		t.Errorf("it has written down %+v, %v, %v", retired, found, err)
	}
}

// TestTrimmingGoesOnWhereItCameTo: page by page, within its time; the next call
// takes the rest, and nothing is counted twice.
func TestTrimmingGoesOnWhereItCameTo(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	s.Backup = s // has everything
	year := s.Index("2024")
	const documents = 2*trimPage + 7
	s.HTTP(http.MethodPost, "/_bulk?refresh=true", strings.Repeat(`{"create":{"_index":"`+year+`"}}
{"@timestamp":"2024-01-02T00:00:00Z","received_at":"2026-01-02T01:02:03.000Z","indexed_at":"2026-01-02T01:02:04.000Z"}
`, documents))
	call := s.trimCall(10)
	call.For = 0
	if got := runs.Must(t, s.TrimIndices, call); !slices.Equal(got.Trimmed, []Trim{{Index: year, Left: documents}}) || len(got.Deleted) != 0 {
		t.Errorf("without any time: %+v", got)
	}
	call.For = time.Hour
	if got := runs.Must(t, s.TrimIndices, call); !slices.Equal(got.Trimmed, []Trim{{Index: year, Documents: documents}}) || !slices.Equal(got.Deleted, []string{year}) {
		t.Errorf("with all the time: %+v", got)
	}
	if written, err := snapshot.TrimmedIndex(t.Context(), s.Bucket, year); err != nil || written.Documents != documents {
		t.Errorf("it has written down %+v, %v", written, err)
	}
}
