package activities

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/backup"
	"millrace/internal/index"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
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
		Repository: s.call.Repository.Name, Indices: s.call.Indices, Days: map[string]int{s.kind: keep},
	}}
}

// TestIndicesOfNoDayAreTrimmed by the day on which each document was received.
func TestIndicesOfNoDayAreTrimmed(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	year, undated, daily := s.index("2024"), s.index("undated"), s.index("2026.01.02")
	for _, name := range []string{year, undated, daily} {
		s.fillAt(name, 3, oldDay)
		s.fillAt(name, 2, time.Now().AddDate(0, 0, -10))
	}
	s.http(http.MethodPost, "/"+undated+"/_doc", `{"@timestamp":"2026-01-02T00:00:00Z"}`) // who wrote that?
	call := s.trimCall(10)
	got := must(t, s.TrimIndices, call)
	if len(got.Trimmed) != 0 || len(got.Uncovered) != 2 || got.Uncovered[0] != year+": 3 documents: there is no good snapshot" {
		t.Errorf("without any snapshot: %+v", got)
	}
	if look := s.take("one"); look.State != snapshot.Success {
		t.Fatalf("%+v", look)
	}
	call.DryRun = true
	want := []Trim{{Index: year, Documents: 3}, {Index: undated, Documents: 3}}
	if got = must(t, s.TrimIndices, call); !slices.Equal(got.Trimmed, want) || len(got.Uncovered) != 0 {
		t.Errorf("a dry run: %+v", got)
	}
	call.DryRun = false
	if got = must(t, s.TrimIndices, call); !slices.Equal(got.Trimmed, want) || len(got.Deleted) != 0 || len(got.Uncovered) != 0 {
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
	year := s.index("2024")
	s.http(http.MethodPut, "/"+year+"/_doc/lost", `{"@timestamp":"2024-01-02T00:00:00Z","received_at":"2026-11-23T01:02:03.000Z"}`)
	s.fillAt(year, 3, oldDay)
	s.fillAt(year, 2, time.Now())
	if look := s.take("one"); look.Suspect != "" {
		t.Fatalf("%+v", look)
	}
	must(t, s.TrimIndices, s.trimCall(60))
	s.http(http.MethodDelete, "/"+year+"/_doc/lost", "")
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
	past, present, undated := s.index("2024"), s.index(time.Now().UTC().Format("2006")), s.index("undated")
	for _, name := range []string{past, present, undated} {
		s.fillAt(name, 2, oldDay)
	}
	got := must(t, s.TrimIndices, s.trimCall(10))
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
	year := s.index("2024")
	const documents = 2*trimPage + 7
	s.http(http.MethodPost, "/_bulk?refresh=true", strings.Repeat(`{"create":{"_index":"`+year+`"}}
{"@timestamp":"2024-01-02T00:00:00Z","received_at":"2026-01-02T01:02:03.000Z","indexed_at":"2026-01-02T01:02:04.000Z"}
`, documents))
	call := s.trimCall(10)
	call.For = 0
	if got := must(t, s.TrimIndices, call); !slices.Equal(got.Trimmed, []Trim{{Index: year, Left: documents}}) || len(got.Deleted) != 0 {
		t.Errorf("without any time: %+v", got)
	}
	call.For = time.Hour
	if got := must(t, s.TrimIndices, call); !slices.Equal(got.Trimmed, []Trim{{Index: year, Documents: documents}}) || !slices.Equal(got.Deleted, []string{year}) {
		t.Errorf("with all the time: %+v", got)
	}
	if written, err := snapshot.TrimmedIndex(t.Context(), s.Bucket, year); err != nil || written.Documents != documents {
		t.Errorf("it has written down %+v, %v", written, err)
	}
}

// TestASweepLeavesWhatRetentionTook: by when it was received, where the index
// stays.
func TestASweepLeavesWhatRetentionTook(t *testing.T) {
	t.Parallel()
	w := newSafe(t)
	cut := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	trimmed := snapshot.Trimmed{Index: "telemetry-log-undated"}
	if err := trimmed.Add(t.Context(), w.Bucket, 5, cut); err != nil {
		t.Fatal(err)
	}
	s := newSweep(t.Context(), t.Context(), &Sweeper{Bucket: w.Bucket.(Bucket)}, SweepInput{}, Plan{}, nil, SweepProgress{})
	for received, want := range map[time.Time]bool{cut.Add(-time.Millisecond): false, cut: true} {
		data := telemetry.AppendRecord(nil, telemetry.Head{Index: trimmed.Index, ReceivedAt: received, Tenant: "acme", ID: "x", Type: "log", Timestamp: received}, []byte(`{}`))
		if got := s.chooses(backup.Line{Record: backup.Record{Data: data, Arrived: cut.AddDate(0, 0, 20)}}); got != want {
			t.Errorf("what was received at %s is brought back: %v", received, got)
		}
	}
}

// TestARecoveryDoesNotMissWhatRetentionTook of an index that stays.
func TestARecoveryDoesNotMissWhatRetentionTook(t *testing.T) {
	p := newPlanner(t)
	made := p.began.Add(-time.Hour)
	const stays = "telemetry-log-undated"
	p.record(snapshot.Record{Indices: map[string]snapshot.Index{stays: {Documents: 10, Created: made, Trimmed: 2}}})
	trimmed := snapshot.Trimmed{Index: stays}
	if err := trimmed.Add(t.Context(), p.Bucket, 6, p.began); err != nil {
		t.Fatal(err)
	}
	for there, want := range map[int64]int{6: 0, 5: 1} {
		p.cluster.states = map[string]index.State{stays: {Health: "green", Created: made, Documents: there}}
		plan, err := p.PlanRecovery(t.Context(), PlanInput{})
		if err != nil || len(plan.Fewer) != want {
			t.Errorf("with %d documents the plan misses %+v, %v", there, plan.Fewer, err)
		}
	}
}
