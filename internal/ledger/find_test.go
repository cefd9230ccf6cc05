package ledger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/internal/ledger"
	"millrace/internal/ledger/lookup"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
	"millrace/test/kit/bucket"
)

// keysOf are the keys of what is found, of each entry once.
func keysOf(t *testing.T, l *ledger.Ledger, name ledger.Name) []string {
	t.Helper()
	found, err := l.Find(t.Context(), name, 10)
	if err != nil || found.More || len(found.Gaps) > 0 {
		t.Fatalf("%+v: found %+v, %v", name, found, err)
	}
	keys := []string{}
	for _, hit := range found.Hits {
		if hit.Entry.Records != nil || hit.Record.Error.Type == "" {
			t.Errorf("%+v: found %+v", name, hit)
		}
		keys = append(keys, hit.Key)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func TestFindKnowsEachRecordOfTheLedger(t *testing.T) {
	t.Parallel()
	l := ledger.New(newBucket(t), "telemetry")
	if begun, complete, err := l.BeginIndex(t.Context()); !begun || !complete || err != nil {
		t.Fatalf("begun %t, complete %t, %v", begun, complete, err)
	}
	first, second := add(t, l, bulk("10", "20")), add(t, l, bulk("30", "40"))
	other := bulk("50", "60")
	other.Records = []ledger.Record{ledger.NewRecord(streamRecord("other"), outcome.Error{Type: "odd"})}
	third := add(t, l, other)
	doc := telemetry.NewDocID("acme", "telemetry-span-2026.11.23", "one").String()
	for range 3 {
		for name, want := range map[ledger.Name][]string{
			{Tenant: "acme", ID: "one"}:     {first, second},
			{DocID: doc}:                    {first, second},
			{Tenant: "acme", ID: "other"}:   {third},
			{Tenant: "umbrella", ID: "one"}: {},
			{Tenant: "acme", ID: "absent"}:  {},
			{DocID: doc[1:] + "A"}:          {},
			{Tenant: "", ID: ""}:            {}, // as those have that no collector wrote
		} {
			if got := keysOf(t, l, name); !slices.Equal(got, want) {
				t.Errorf("%+v is in %v, want %v", name, got, want)
			}
		}
		// Neither a resolution nor a merge changes what is found.
		if err := l.Resolve(t.Context(), first, ledger.Resolution{How: "indexed", At: created}); err != nil {
			t.Fatal(err)
		}
		if err := l.MergeIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if begun, complete, err := l.BeginIndex(t.Context()); begun || !complete || err != nil {
		t.Errorf("begun %t, complete %t, %v", begun, complete, err)
	}
}

// TestFindComparesNames: a hash only leads to an entry.
func TestFindComparesNames(t *testing.T) {
	t.Parallel()
	objects := bucket.New()
	l := ledger.New(objects, "telemetry")
	e := bulk("10", "20")
	e.Records = append(e.Records, ledger.NewRecord(streamRecord("other"), outcome.Error{Type: "odd"}))
	place, _ := strings.CutPrefix(add(t, l, e), "ledger/open/")
	if err := lookup.New(objects).Note(t.Context(), created, place, []uint64{lookup.Hash("id", "acme", "another of its hash")}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]int{"one": 1, "other": 1, "another of its hash": 0} {
		found, err := l.Find(t.Context(), ledger.Name{Tenant: "acme", ID: id}, 10)
		if err != nil || len(found.Hits) != want || want > 0 && found.Hits[0].Record.ID != id {
			t.Errorf("%s: found %+v, %v", id, found.Hits, err)
		}
	}
}

// TestAddMendsTheNoteOfAnEarlierAttempt that was stopped behind the entry.
func TestAddMendsTheNoteOfAnEarlierAttempt(t *testing.T) {
	t.Parallel()
	for _, resolved := range []bool{false, true} {
		objects := bucket.New()
		l := ledger.New(objects, "telemetry")
		if _, _, err := l.BeginIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
		key := add(t, l, bulk("10", "20"))
		if resolved {
			if err := l.Resolve(t.Context(), key, ledger.Resolution{How: "indexed", At: created}); err != nil {
				t.Fatal(err)
			}
		}
		for _, note := range collect(t, objects.Keys(t.Context(), "ledger-index/new/")) {
			if err := objects.Delete(t.Context(), note); err != nil {
				t.Fatal(err)
			}
		}
		if got := keysOf(t, l, ledger.Name{Tenant: "acme", ID: "one"}); len(got) > 0 {
			t.Fatalf("without a note it is in %v", got)
		}
		add(t, l, bulk("10", "20"))
		if got := keysOf(t, l, ledger.Name{Tenant: "acme", ID: "one"}); !slices.Equal(got, []string{key}) {
			t.Errorf("resolved %t: it is in %v", resolved, got)
		}
	}
}

// TestEntryCostsOneWriteMore whatever a tenant sends: one for each entry, not for
// each record.
func TestEntryCostsOneWriteMore(t *testing.T) {
	t.Parallel()
	objects := bucket.New()
	l := ledger.New(objects, "telemetry")
	e := bulk("10", "20")
	for n := range 5000 {
		e.Records = append(e.Records, ledger.NewRecord(streamRecord(fmt.Sprint(n)), outcome.Error{Type: "odd"}))
	}
	add(t, l, e)
	if got := objects.Writes(); got != 2 {
		t.Errorf("an entry of 5,000 records took %d writes, want 2", got)
	}
}

func TestFindBoundsWhatATenantCanMake(t *testing.T) {
	t.Parallel()
	l := ledger.New(bucket.New(), "telemetry")
	for n := range 30 {
		e := bulk(fmt.Sprint(100+2*n), fmt.Sprint(101+2*n))
		e.At = created.Add(time.Duration(n) * time.Second)
		add(t, l, e)
	}
	found, err := l.Find(t.Context(), ledger.Name{Tenant: "acme", ID: "one"}, 5)
	if err != nil || len(found.Hits) != 5 || !found.More {
		t.Errorf("found %d, more %t, %v", len(found.Hits), found.More, err)
	}
	for n := 1; n < len(found.Hits); n++ {
		if found.Hits[n].Entry.At.After(found.Hits[n-1].Entry.At) {
			t.Error("the newest does not come first")
		}
	}
}

func TestRebuildIndexReadsTheWholeLedger(t *testing.T) {
	t.Parallel()
	objects := bucket.New()
	l := ledger.New(objects, "telemetry")
	var keys []string
	for n := range 50 {
		e := bulk(fmt.Sprint(100+2*n), fmt.Sprint(101+2*n))
		e.Records = []ledger.Record{ledger.NewRecord(streamRecord(fmt.Sprint("id", n)), outcome.Error{Type: "odd"})}
		keys = append(keys, add(t, l, e))
		if n%2 == 0 {
			if err := l.Resolve(t.Context(), keys[n], ledger.Resolution{How: "indexed", At: created}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, key := range collect(t, objects.Keys(t.Context(), "ledger-index/")) {
		if err := objects.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if begun, complete, err := l.BeginIndex(t.Context()); begun || complete || err != nil {
		t.Errorf("begun %t, complete %t, %v: the ledger is not empty", begun, complete, err)
	}
	counted := 0
	if err := l.RebuildIndex(t.Context(), func(entries int) { counted = entries }); err != nil || counted != len(keys) {
		t.Fatalf("it read %d entries, %v", counted, err)
	}
	for n, key := range keys {
		if got := keysOf(t, l, ledger.Name{Tenant: "acme", ID: fmt.Sprint("id", n)}); !slices.Equal(got, []string{key}) {
			t.Errorf("record %d is in %v, want %s", n, got, key)
		}
	}
	objects.Break()
	if err := l.RebuildIndex(t.Context(), func(int) {}); err == nil {
		t.Error("without S3 it succeeds")
	}
}
