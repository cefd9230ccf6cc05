package lookup

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace/test/kit/bucket"
)

var at = time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)

// world is an index, and what was noted in it.
type world struct {
	*Index
	t      *testing.T
	bucket *bucket.Memory
	noted  int
}

func newWorld(t *testing.T) *world {
	b := bucket.New()
	w := &world{Index: New(b), t: t, bucket: b}
	if err := w.SetComplete(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

func placeOf(n int) string { return fmt.Sprintf("telemetry/shardId-000000000001/%d.json", n) }

// note notes so many entries of two records each.
func (w *world) note(count int) {
	w.t.Helper()
	for range count {
		n := w.noted
		hashes := []uint64{Hash("id", fmt.Sprint(n), "a"), Hash("id", fmt.Sprint(n), "b")}
		if err := w.Note(w.t.Context(), at.Add(time.Duration(n)*time.Millisecond), placeOf(n), hashes); err != nil {
			w.t.Fatal(err)
		}
		w.noted++
	}
}

// has fails unless each noted record, and no other, is found.
func (w *world) has() {
	w.t.Helper()
	for n := 0; n < w.noted; n += 1 + w.noted/100 {
		for _, which := range []string{"a", "b"} {
			got, err := w.Find(w.t.Context(), Hash("id", fmt.Sprint(n), which), 10)
			if err != nil || !slices.Equal(got.Places, []string{placeOf(n)}) || got.More {
				w.t.Fatalf("record %d%s of %d is at %+v, %v", n, which, w.noted, got, err)
			}
		}
	}
	got, err := w.Find(w.t.Context(), Hash("id", "absent"), 10)
	if err != nil || len(got.Places) > 0 || len(got.Gaps) > 0 {
		w.t.Fatalf("an absent one is at %+v, %v", got, err)
	}
}

func (w *world) merge() State {
	w.t.Helper()
	left, err := w.Merge(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return left
}

func (w *world) keys(prefix string) (keys []string) {
	w.t.Helper()
	for key, err := range w.bucket.Keys(w.t.Context(), prefix) {
		if err != nil {
			w.t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

func TestNoteIsOneWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.bucket.Writes()
	hashes := make([]uint64, 8000) // an entry of many records
	for n := range hashes {
		hashes[n] = Hash(fmt.Sprint(n))
	}
	if err := w.Note(t.Context(), at, placeOf(1), hashes); err != nil {
		t.Fatal(err)
	}
	if got := w.bucket.Writes() - before; got != 1 {
		t.Errorf("it was noted in %d writes", got)
	}
}

func TestMergeKeepsTheNumberOfObjectsSmall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.note(3)
	w.has() // before any merge, too
	for range 40 {
		w.note(250)
		left := w.merge()
		if left.New > 0 || len(w.keys(newPrefix)) > 0 {
			t.Fatalf("a merge leaves %+v", left)
		}
		if most := (fan - 1) * 2; left.Segments > most { // 10,000 entries are less than a megabyte
			t.Fatalf("after %d entries there are %d segments", w.noted, left.Segments)
		}
	}
	w.has()
	before := w.bucket.Reads()
	if _, err := w.Find(t.Context(), Hash("id", "5", "a"), 10); err != nil {
		t.Fatal(err)
	}
	if reads := w.bucket.Reads() - before; reads > 3+4*6 {
		t.Errorf("a look-up reads %d times", reads)
	}
	if left := w.merge(); left.Segments != len(w.keys(segmentPrefix)) {
		t.Errorf("there are %d segments, and it says %+v", len(w.keys(segmentPrefix)), left)
	}
}

func TestFullSegmentsAreMergedNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var keys []string
	for n := range 2 * fan {
		key := fmt.Sprintf("%s%032x-%d", segmentPrefix, n, full+n)
		if err := w.bucket.Put(t.Context(), key, encode([]Row{{uint64(n), "a"}})); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	if w.merge(); !slices.Equal(w.keys(segmentPrefix), keys) {
		t.Errorf("they became %v", w.keys(segmentPrefix))
	}
}

// TestFindMissesNothingWhileOthersMerge is about who lists segments that are
// deleted a moment later.
func TestFindMissesNothingWhileOthersMerge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var failed atomic.Pointer[error]
	merging := make(chan struct{})
	go func() {
		defer close(merging)
		for ctx.Err() == nil {
			if _, err := w.Merge(ctx); err != nil && ctx.Err() == nil {
				failed.Store(&err)
				return
			}
		}
	}()
	for range 300 {
		w.note(1)
		n := w.noted - 1
		if got, err := w.Find(t.Context(), Hash("id", fmt.Sprint(n), "b"), 10); err != nil || len(got.Places) != 1 {
			t.Fatalf("record %d is at %+v, %v", n, got, err)
		}
	}
	stop()
	<-merging
	if err := failed.Load(); err != nil {
		t.Error(*err)
	}
	w.has()
}

func TestTooManyNewEntriesAreAGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.note(mostNew + 1)
	got, err := w.Find(t.Context(), Hash("id", fmt.Sprint(mostNew), "a"), 10)
	if err != nil || len(got.Places) > 0 || len(got.Gaps) != 1 || !strings.Contains(got.Gaps[0], "since 2026-11-23T01:02:03Z") {
		t.Errorf("it is at %+v, %v", got, err)
	}
	w.merge()
	w.has()
}

func TestSamePlaceIsFoundOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for n := range 5 {
		if err := w.Note(t.Context(), at.Add(time.Duration(n)*time.Second), "a", []uint64{1}); err != nil {
			t.Fatal(err)
		}
		if err := w.Note(t.Context(), at, fmt.Sprint("b", n), []uint64{1}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if got, err := w.Find(t.Context(), 1, 10); err != nil || len(got.Places) != 6 || got.More {
			t.Errorf("places %+v, %v", got, err)
		}
		if got, err := w.Find(t.Context(), 1, 5); err != nil || len(got.Places) != 5 || !got.More {
			t.Errorf("of at most 5: %+v, %v", got, err)
		}
		w.merge()
	}
}

// ledger yields the rows of all noted entries.
func (w *world) ledger() iter.Seq2[[]Row, error] {
	return func(yield func([]Row, error) bool) {
		for n := range w.noted {
			if !yield([]Row{{Hash("id", fmt.Sprint(n), "a"), placeOf(n)}, {Hash("id", fmt.Sprint(n), "b"), placeOf(n)}}, nil) {
				return
			}
		}
	}
}

func TestRebuildMendsWhatIsLostOrDamaged(t *testing.T) {
	t.Parallel()
	const lost, damaged = "from before there was an index", "damaged objects"
	w := newWorld(t)
	w.note(1000)
	w.merge()
	w.note(10)
	for _, key := range w.keys("ledger-index/") {
		if err := w.bucket.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := w.Find(t.Context(), Hash("id", "5", "a"), 10); err != nil || len(got.Places) > 0 || len(got.Gaps) != 1 || !strings.Contains(got.Gaps[0], lost) {
		t.Errorf("without an index it is at %+v, %v", got, err)
	}
	if err := w.Rebuild(t.Context(), w.ledger()); err != nil {
		t.Fatal(err)
	}
	w.has()
	w.note(5)
	for _, prefix := range []string{segmentPrefix, newPrefix} {
		key := w.keys(prefix)[0]
		body, err := w.bucket.Get(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.bucket.Put(t.Context(), key, append(slices.Clone(body[:len(body)-1]), 'x')); err != nil {
			t.Fatal(err)
		}
		if left := w.merge(); left.New+left.Segments == 0 {
			t.Errorf("a merge has removed what is damaged: %+v", left)
		}
		if got, err := w.Find(t.Context(), Hash("id", "absent"), 10); err != nil || len(got.Gaps) != 1 || !strings.Contains(got.Gaps[0], damaged) {
			t.Errorf("damaged, it answers %+v, %v", got, err)
		}
		if err := w.Rebuild(t.Context(), w.ledger()); err != nil {
			t.Fatal(err)
		}
		w.has()
		w.note(5)
	}
	if err := w.Rebuild(t.Context(), w.ledger()); err != nil {
		t.Fatal(err)
	}
	if got := w.keys(segmentPrefix); len(got) != 1 {
		t.Errorf("rebuilt again and again, it has %v", got)
	}
}

// TestRebuildThatFailsLeavesTheIndex as it was.
func TestRebuildThatFailsLeavesTheIndex(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.note(100)
	w.merge()
	before := w.keys("ledger-index/")
	broken := errors.New("the ledger is away")
	err := w.Rebuild(t.Context(), func(yield func([]Row, error) bool) {
		if yield([]Row{{1, "a"}}, nil) {
			yield(nil, broken)
		}
	})
	if !errors.Is(err, broken) || !slices.Equal(w.keys("ledger-index/"), before) {
		t.Errorf("%v; there are %v", err, w.keys("ledger-index/"))
	}
	w.has()
}
