package recovery

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/backup"
	"millrace/internal/index"
	"millrace/internal/snapshot"
)

// settledPast was settled long ago.
var settledPast = time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)

// put puts documents with these ids into an index, that were sent then.
func (s *safe) put(index string, sent time.Time, ids ...string) {
	s.Helper()
	for _, id := range ids {
		s.HTTP(http.MethodPut, "/"+index+"/_doc/"+id, `{"indexed_at":"`+sent.UTC().Format("2006-01-02T15:04:05.000Z")+`"}`)
	}
}

// TestLostDocumentsDoNotHideBehindNewOnes, as many as they are; once a complete
// recovery has sent them anew, nothing is missed any more.
func TestLostDocumentsDoNotHideBehindNewOnes(t *testing.T) {
	t.Parallel()
	s := newSafe(t)
	name := s.Index("2026.11.23")
	s.put(name, settledPast, "a", "b", "c", "d")
	s.put(name, time.Now(), "recent")
	if look := s.take("good"); look.Suspect != "" {
		t.Fatalf("%+v", look)
	}
	if got := s.record("good").Indices[name].Settled; got == nil || got.Documents != 4 || time.Since(got.Before) < s.Cluster.LongestBulk()+backup.ClockSkew {
		t.Errorf("settled are %+v", got)
	}
	for _, lost := range []string{"a", "b"} {
		s.HTTP(http.MethodDelete, "/"+name+"/_doc/"+lost, "")
	}
	s.put(name, time.Now(), "x", "y")
	if look := s.take("lossy"); !strings.Contains(look.Suspect, name+" has lost 2 of the 4 documents that were sent before ") {
		t.Errorf("with as many documents as before it is %+v", look)
	}
	s.put(name, time.Now(), "a", "b") // by verify
	if look := s.take("mended"); look.Suspect == "" {
		t.Error("which documents there are is not known from their number")
	}
	recoverer := s.recoverer()
	result := RecoverResult{Complete: true, Papers: "recovery/r/", Plan: Plan{Suffix: "-copy"}}
	plan := Plan{Indices: []string{name}, Window: backup.Window{Shards: map[string][]backup.Span{"shard": {}}}}
	if err := recoverer.writePaper(t.Context(), result.Papers+planFile, plan); err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"-copy", ""} {
		result.Plan.Suffix = of
		if err := recoverer.ConcludeRecovery(t.Context(), result); err != nil {
			t.Fatal(err)
		}
		if look := s.take("recovered" + of); (look.Suspect == "") != (of == "") {
			t.Errorf("behind a complete recovery into %q: %+v", of, look)
		}
	}
	s.HTTP(http.MethodDelete, "/"+name+"/_doc/c", "")
	s.put(name, time.Now(), "z")
	if look := s.take("again"); !strings.Contains(look.Suspect, name+" has lost 1 of the 2 documents") {
		t.Errorf("once another one is lost it is %+v", look)
	}
}

// TestAKeptIndexIsHeldAgainstWhatWasSettled, where the record says so, by the newer
// of what the snapshot and a recovery have counted.
func TestAKeptIndexIsHeldAgainstWhatWasSettled(t *testing.T) {
	made := settledPast
	settled := func(documents int64) *snapshot.Settled {
		return &snapshot.Settled{Before: settledPast, Documents: documents, Trimmed: 1}
	}
	for name, c := range map[string]struct {
		settled *snapshot.Settled
		sent    int64 // there are still
		trimmed int64
		basis   int64 // of a recovery; zero: none
		want    []Restored
		warns   bool
	}{
		"whole":                      {settled: settled(8), sent: 8},
		"lossy":                      {settled: settled(8), sent: 7, want: []Restored{{Index: "telemetry-a", Documents: 7, Wanted: 8}}},
		"trimmed":                    {settled: settled(8), sent: 6, trimmed: 3},
		"recovered since":            {settled: settled(8), sent: 7, basis: 7},
		"recovered, and lossy":       {settled: settled(8), sent: 6, basis: 7, want: []Restored{{Index: "telemetry-a", Documents: 6, Wanted: 7}}},
		"a record of before":         {sent: 7, warns: true},
		"it cannot be counted":       {settled: settled(8), sent: -1, warns: true},
		"recovered, of a new record": {sent: 7, basis: 7},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlanner(t)
			p.record(snapshot.Record{Indices: map[string]snapshot.Index{"telemetry-a": {Documents: 10, Created: made, Settled: c.settled}}})
			p.cluster.states["telemetry-a"] = index.State{Health: "green", Created: made, Documents: 10}
			p.cluster.sent = c.sent
			if c.trimmed > 0 {
				trimmed := snapshot.Trimmed{Index: "telemetry-a"}
				if err := trimmed.Add(t.Context(), p.Bucket, c.trimmed, settledPast); err != nil {
					t.Fatal(err)
				}
			}
			if c.basis > 0 {
				basis := snapshot.Basis{"telemetry-a": {Settled: snapshot.Settled{Before: settledPast.Add(time.Hour), Documents: c.basis}, Created: made}}
				if err := basis.Write(t.Context(), p.Bucket); err != nil {
					t.Fatal(err)
				}
			}
			plan, err := p.PlanRecovery(t.Context(), PlanInput{})
			if err != nil || !slices.Equal(plan.Fewer, c.want) {
				t.Errorf("fewer are %+v, %v", plan.Fewer, err)
			}
			if warns := strings.Contains(strings.Join(plan.Warnings, "\n"), "by the number of all their documents alone"); warns != c.warns {
				t.Errorf("it warns %q", plan.Warnings)
			}
		})
	}
}
