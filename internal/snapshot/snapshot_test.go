package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// memory is a Store.
type memory struct {
	mu      sync.Mutex
	objects map[string][]byte
}

func newMemory() *memory { return &memory{objects: map[string][]byte{}} }

func (m *memory) Put(_ context.Context, key string, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[key] = body
	return nil
}

func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, found := m.objects[key]
	if !found {
		return nil, fmt.Errorf("get %s: %w", key, fs.ErrNotExist)
	}
	return body, nil
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return nil
}

func (m *memory) Keys(_ context.Context, prefix string) iter.Seq2[string, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.Sorted(maps.Keys(m.objects))
	return func(yield func(string, error) bool) {
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) && !yield(key, nil) {
				return
			}
		}
	}
}

// taken makes the record of a snapshot of that age.
func taken(age time.Duration, state, suspect string) snapshot.Record {
	started := now.Add(-age)
	return snapshot.Record{
		Name: "telemetry-" + started.Format("2006.01.02-15.04.05"), Repository: "r",
		Started: started, Ended: started.Add(time.Minute), State: state, Suspect: suspect,
	}
}

func TestSnapshotRecordRoundTrips(t *testing.T) {
	t.Parallel()
	store := newMemory()
	catalog := snapshot.Open(store, "r")
	want := taken(time.Hour, snapshot.Success, "")
	want.Indices = map[string]snapshot.Index{"telemetry-span-2026.11.24": {Documents: 12, Created: now.Add(-5 * time.Hour)}}
	want.Shards = []snapshot.Shard{{Stream: "s", StreamARN: "arn", Created: now, Shard: "0", Checkpoint: telemetry.Checkpoint{Sequence: "7", ReadUpTo: now}}}
	want.Open = []telemetry.Range{{StreamARN: "arn", Shard: "0", First: "1", Last: "5", Count: 3}}
	if err := catalog.Put(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, err := catalog.Get(t.Context(), want.Name)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, there := store.objects["snapshots/r/"+want.Name+".json"]; !there {
		t.Errorf("it stands at %v", slices.Collect(maps.Keys(store.objects)))
	}
	if err := catalog.Delete(t.Context(), want.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := catalog.Get(t.Context(), want.Name); !errors.Is(err, snapshot.ErrNone) {
		t.Errorf("once deleted: %v", err)
	}
	if err := catalog.Put(t.Context(), snapshot.Record{Name: "x", Repository: "another"}); err == nil {
		t.Error("a record of another repository is taken")
	}
}

func TestLastGoodSkipsUntrustedSnapshots(t *testing.T) {
	t.Parallel()
	catalog := snapshot.Open(newMemory(), "r")
	if _, err := catalog.LastGood(t.Context(), time.Time{}); !errors.Is(err, snapshot.ErrNone) {
		t.Errorf("without any: %v", err)
	}
	older, good := taken(6*time.Hour, snapshot.Success, ""), taken(5*time.Hour, snapshot.Success, "")
	for _, r := range []snapshot.Record{
		older, good, taken(4*time.Hour, snapshot.Partial, ""), taken(3*time.Hour, snapshot.Success, "an index has vanished"),
		taken(2*time.Hour, snapshot.Failed, ""), taken(time.Hour, snapshot.InProgress, ""),
	} {
		if err := catalog.Put(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	all, err := catalog.List(t.Context())
	if err != nil || len(all) != 6 || all[0].State != snapshot.InProgress || all[5].Name != older.Name {
		t.Errorf("listed as %+v, %v", all, err)
	}
	if got, err := catalog.LastGood(t.Context(), time.Time{}); err != nil || got.Name != good.Name {
		t.Errorf("the last good one is %s, %v", got.Name, err)
	}
	if got, err := catalog.LastGood(t.Context(), good.Started); err != nil || got.Name != older.Name {
		t.Errorf("the one before is %s, %v", got.Name, err)
	}
}

func TestSuspectSnapshotsAreRecognized(t *testing.T) {
	t.Parallel()
	const a, b = "telemetry-span-2026.11.23", "telemetry-span-2026.11.24"
	made, come := now.Add(-24*time.Hour), now.Add(-30*time.Minute)
	last := taken(time.Hour, snapshot.Success, "")
	last.Indices = map[string]snapshot.Index{a: {Documents: 100, Created: made}, b: {Documents: 50, Created: made, Trimmed: 7}}
	for name, c := range map[string]struct {
		now   map[string]snapshot.Index
		noted []snapshot.Noted
		gone  map[string]snapshot.Gone
		want  string
	}{
		"grown":                    {now: map[string]snapshot.Index{a: {Documents: 100, Created: made}, b: {Documents: 51, Created: made}, "c": {Documents: 1, Created: now}}},
		"vanished":                 {now: map[string]snapshot.Index{b: {Documents: 50, Created: made}}, want: a + " with 100 documents has vanished"},
		"shrunk":                   {now: map[string]snapshot.Index{a: {Documents: 99, Created: made}, b: {Documents: 50, Created: made}}, want: a + " has shrunk from 100 to 99 documents"},
		"made again":               {now: map[string]snapshot.Index{a: {Documents: 100, Created: made}, b: {Documents: 5000, Created: now}}, want: b + " was deleted and made again"},
		"retired":                  {now: map[string]snapshot.Index{b: {Documents: 50, Created: made}}, gone: map[string]snapshot.Gone{a: {Retired: now}}},
		"trimmed, as is known":     {now: map[string]snapshot.Index{a: {Documents: 100, Created: made}, b: {Documents: 30, Created: made}}, gone: map[string]snapshot.Gone{b: {Trimmed: 27}}},
		"trimmed, and lost one":    {now: map[string]snapshot.Index{a: {Documents: 100, Created: made}, b: {Documents: 29, Created: made}}, gone: map[string]snapshot.Gone{b: {Trimmed: 27}}, want: b + " has shrunk from 50 to 29 documents"},
		"trimmed before, not now":  {now: map[string]snapshot.Index{a: {Documents: 100, Created: made}, b: {Documents: 49, Created: made}}, gone: map[string]snapshot.Gone{b: {Trimmed: 7}}, want: "shrunk"},
		"retired, and come again":  {now: map[string]snapshot.Index{a: {Documents: 1, Created: now}, b: {Documents: 50, Created: made}}, gone: map[string]snapshot.Gone{a: {Retired: now}}},
		"retired before, not now":  {now: map[string]snapshot.Index{b: {Documents: 50, Created: made}}, gone: map[string]snapshot.Gone{a: {Retired: now.Add(-2 * time.Hour)}}, want: "vanished"},
		"everything has gone":      {now: nil, want: b + " with 50 documents has vanished"},
		"came and stayed":          {now: map[string]snapshot.Index{a: {Documents: 100, Created: made}, b: {Documents: 50, Created: made}, "c": {Documents: 1, Created: come}}, noted: []snapshot.Noted{{"c", come}}},
		"came and vanished":        {now: map[string]snapshot.Index{a: {Documents: 100, Created: made}, b: {Documents: 50, Created: made}}, noted: []snapshot.Noted{{"c", come}}, want: "c of 2026-11-24T11:30:00Z has vanished"},
		"came twice":               {now: map[string]snapshot.Index{a: {Documents: 100, Created: made}, b: {Documents: 50, Created: made}, "c": {Documents: 9, Created: now}}, noted: []snapshot.Noted{{"c", come}, {"c", now}}, want: "c of 2026-11-24T11:30:00Z was deleted and made again at 2026-11-24T12:00:00Z"},
		"came and retired":         {now: map[string]snapshot.Index{a: {Documents: 100, Created: made}, b: {Documents: 50, Created: made}}, noted: []snapshot.Noted{{"c", come}}, gone: map[string]snapshot.Gone{"c": {Retired: now}}},
		"had gone before":          {now: map[string]snapshot.Index{a: {Documents: 100, Created: made}, b: {Documents: 50, Created: made}}, noted: []snapshot.Noted{{"c", made}}},
		"noted and known":          {now: map[string]snapshot.Index{a: {Documents: 100, Created: made}, b: {Documents: 50, Created: made}}, noted: []snapshot.Noted{{a, made}}},
		"one retired, one has not": {now: nil, gone: map[string]snapshot.Gone{a: {Retired: now}}, want: b + " with 50 documents has vanished"},
	} {
		got := snapshot.Judge(last, c.now, c.noted, c.gone)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if missing := snapshot.Missing(last, c.now, c.noted); (len(missing) > 0) != (c.want != "" || len(c.gone) > 0) {
			t.Errorf("%s: about %v it must be asked when they retired", name, missing)
		}
	}
	many := taken(time.Hour, snapshot.Success, "")
	many.Indices = map[string]snapshot.Index{}
	for n := range 1000 {
		many.Indices[fmt.Sprintf("telemetry-span-%04d", n)] = snapshot.Index{Documents: 1, Created: made}
	}
	if got := snapshot.Judge(many, nil, nil, nil); len(got) > 1000 || !strings.HasSuffix(got, "and 995 more") {
		t.Errorf("of very many: %q", got)
	}
}

// TestSettledDocumentsMustStay: an index may not have fewer of these documents, however
// many there are in all, but for those that retention has deleted.
func TestSettledDocumentsMustStay(t *testing.T) {
	t.Parallel()
	const a = "telemetry-span-2026"
	made, before := now.Add(-24*time.Hour), now.Add(-2*time.Hour)
	last := taken(time.Hour, snapshot.Success, "")
	last.Indices = map[string]snapshot.Index{a: {Documents: 100, Created: made, Settled: &snapshot.Settled{Before: before, Documents: 90, Trimmed: 7}}}
	for name, c := range map[string]struct {
		still   *snapshot.Settled
		trimmed int64
		want    string
	}{
		"not counted":           {},
		"all":                   {still: &snapshot.Settled{Before: before, Documents: 90}},
		"more, of a slow bulk":  {still: &snapshot.Settled{Before: before, Documents: 91}},
		"fewer":                 {still: &snapshot.Settled{Before: before, Documents: 40}, want: a + " has lost 50 of the 90 documents that were sent before 2026-11-24T10:00:00Z"},
		"trimmed":               {still: &snapshot.Settled{Before: before, Documents: 80}, trimmed: 17},
		"trimmed, and lost one": {still: &snapshot.Settled{Before: before, Documents: 79}, trimmed: 17, want: "has lost 1 of"},
		"of another time":       {still: &snapshot.Settled{Before: before.Add(time.Second), Documents: 1}},
	} {
		present := map[string]snapshot.Index{a: {Documents: 100, Created: made, Still: c.still}}
		gone := map[string]snapshot.Gone{a: {Trimmed: c.trimmed}}
		if got := snapshot.Judge(last, present, nil, gone); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if missing := snapshot.Missing(last, present, nil); (len(missing) > 0) != (c.want != "" || c.trimmed > 0) {
			t.Errorf("%s: about %v it must be asked what retention took", name, missing)
		}
	}
}

// TestNotesAreListedAndDeleted, beside objects of others.
func TestNotesAreListedAndDeleted(t *testing.T) {
	t.Parallel()
	store := newMemory()
	notes := []snapshot.Noted{{Index: "telemetry-span-2026.11.23", Created: now.Add(-time.Hour)}, {Index: "telemetry-span-2026.11.24", Created: now.Add(time.Millisecond)}}
	for _, n := range slices.Concat(notes, notes) {
		if err := snapshot.Note(t.Context(), store, n); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"indices/", "indices/readme.txt", "indices/5-"} {
		if err := store.Put(t.Context(), key, nil); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := snapshot.ListNoted(t.Context(), store); err != nil || !slices.Equal(got, notes) {
		t.Errorf("listed are %v, %v", got, err)
	}
	if err := snapshot.Forget(t.Context(), store, notes[:1]); err != nil {
		t.Fatal(err)
	}
	if got, err := snapshot.ListNoted(t.Context(), store); err != nil || !slices.Equal(got, notes[1:]) {
		t.Errorf("left are %v, %v", got, err)
	}
}

func TestRetentionKeepsNeededSnapshots(t *testing.T) {
	t.Parallel()
	var hourly []snapshot.Record // three weeks, the newest first
	for n := range 21 * 24 {
		hourly = append(hourly, taken(time.Duration(n)*time.Hour+time.Minute, snapshot.Success, ""))
	}
	left := func(all []snapshot.Record) (kept []snapshot.Record) {
		expired := snapshot.Retention{}.Expired(all, now)
		for _, r := range all {
			if !slices.ContainsFunc(expired, func(e snapshot.Record) bool { return e.Name == r.Name }) {
				kept = append(kept, r)
			}
		}
		return kept
	}
	// 48 of two days; then the last of each day, until they are two weeks old.
	if kept := left(hourly); len(kept) != 48+12 || kept[0].Name != hourly[0].Name || now.Sub(kept[59].Started) > 14*24*time.Hour {
		t.Errorf("%d are kept, from %s to %s", len(kept), kept[len(kept)-1].Name, kept[0].Name)
	}
	// However old it is, the last good one stays.
	for _, newer := range []snapshot.Record{taken(time.Hour, snapshot.Partial, ""), taken(time.Hour, snapshot.Failed, "")} {
		old := taken(100*24*time.Hour, snapshot.Success, "")
		if kept := left([]snapshot.Record{newer, old}); len(kept) != 2 {
			t.Errorf("behind one that is %s, %d are kept", newer.State, len(kept))
		}
	}
	// What failed goes by its age, too, also where it is the newest of its day.
	if kept := left([]snapshot.Record{hourly[0], taken(72*time.Hour, snapshot.Partial, ""), taken(73*time.Hour, snapshot.Success, "")}); len(kept) != 2 || kept[1].State != snapshot.Success {
		t.Errorf("of a day with a partial one %+v are kept", kept)
	}
	// One that is going on stays.
	if kept := left([]snapshot.Record{hourly[0], taken(72*time.Hour, snapshot.InProgress, "")}); len(kept) != 2 {
		t.Errorf("%d are kept beside one that is going on", len(kept))
	}
	// While something is wrong, nothing goes.
	suspect := taken(time.Second, snapshot.Success, "an index has vanished")
	if kept := left(append([]snapshot.Record{suspect}, hourly...)); len(kept) != len(hourly)+1 {
		t.Errorf("behind a suspect one %d of %d are kept", len(kept), len(hourly)+1)
	}
	// Once a good one follows, it goes as the others.
	suspect = taken(100*time.Hour, snapshot.Success, "an index has vanished")
	if kept := left([]snapshot.Record{hourly[0], suspect}); len(kept) != 1 {
		t.Errorf("an old suspect one is kept: %+v", kept)
	}
	if kept := left(nil); kept != nil {
		t.Error("something comes of nothing")
	}
}

func TestRetentionIsValidated(t *testing.T) {
	t.Parallel()
	for _, r := range []snapshot.Retention{{KeepAll: -1}, {KeepDaily: -1}, {KeepAll: 2, KeepDaily: 1}, {KeepAll: model.Duration(1000 * time.Hour)}} {
		if r.Validate() == nil {
			t.Errorf("%+v is taken", r)
		}
	}
	if err := (snapshot.Retention{}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestRetiredIndicesAreKnown(t *testing.T) {
	t.Parallel()
	store := newMemory()
	if _, found, err := snapshot.RetiredIndex(t.Context(), store, "i"); found || err != nil {
		t.Errorf("%v, %v", found, err)
	}
	want := snapshot.Retired{Index: "i", At: now, Documents: 3, Covered: "backup"}
	if err := snapshot.Retire(t.Context(), store, want); err != nil {
		t.Fatal(err)
	}
	if got, found, err := snapshot.RetiredIndex(t.Context(), store, "i"); !found || err != nil || got != want {
		t.Errorf("%+v, %v, %v", got, found, err)
	}
}

// TestTrimmedDocumentsAddUp, so that snapshots know how many documents they need
// not miss.
func TestTrimmedDocumentsAddUp(t *testing.T) {
	t.Parallel()
	store := newMemory()
	one, err := snapshot.TrimmedIndex(t.Context(), store, "i")
	if err != nil || one != (snapshot.Trimmed{Index: "i"}) {
		t.Errorf("%+v, %v", one, err)
	}
	for _, step := range []struct {
		documents int64
		before    time.Time
	}{{5, now}, {3, now.Add(-time.Hour)}, {-2, now}} {
		if err := one.Add(t.Context(), store, step.documents, step.before); err != nil {
			t.Fatal(err)
		}
	}
	again, err := snapshot.TrimmedIndex(t.Context(), store, "i")
	if err != nil || again != one || again.Documents != 6 || !again.Before.Equal(now) {
		t.Errorf("%+v, %v", again, err)
	}
	if err := snapshot.Retire(t.Context(), store, snapshot.Retired{Index: "i", At: now}); err != nil {
		t.Fatal(err)
	}
	if got, err := snapshot.GoneOf(t.Context(), store, "i"); err != nil || got != (snapshot.Gone{Retired: now, Trimmed: 6}) {
		t.Errorf("gone is %+v, %v", got, err)
	}
	if all, err := snapshot.ListTrimmed(t.Context(), store); err != nil || len(all) != 1 || all["i"] != 6 {
		t.Errorf("listed are %v, %v", all, err)
	}
}

func TestAcceptedSnapshotIsGood(t *testing.T) {
	t.Parallel()
	r := taken(time.Hour, snapshot.Success, "an index has vanished")
	if r.Good() || !r.Final() {
		t.Errorf("%+v is good or goes on", r)
	}
	if r.Accept(snapshot.Acceptance{By: "op", At: now}); !r.Good() || r.Accepted.Was != "an index has vanished" {
		t.Errorf("accepted, it is %+v", r)
	}
}
