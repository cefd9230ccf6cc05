package activities

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/testsuite"

	"millrace/internal/backup"
	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// holding is what a ProcessBatch is around: a stream that forgets its front, and
// a ledger that fails now and then.
type holding struct {
	*testing.T
	*world
	shelf *shelf
	p     *Processor
	env   *testsuite.TestActivityEnvironment
	whole telemetry.Range
}

func newHolding(t *testing.T, records int) *holding {
	w := calmWorld(records)
	h := &holding{T: t, world: w, shelf: newShelf(), p: w.processor(), env: new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()}
	h.p.Ledger = ledger.New(h.shelf, "s")
	h.whole = h.p.rangeOf("shard", w.records)
	h.env.SetTestTimeout(5 * time.Minute)
	h.env.RegisterActivity(h.p.CopyHeld)
	h.env.RegisterActivity(h.p.ReleaseHeld)
	return h
}

// piece is that from one record to another.
func (h *holding) piece(first, last int) LeftRange {
	return LeftRange{Range: h.p.rangeOf("shard", h.records[first:last+1]), Cause: outcome.Error{Type: "odd", Reason: fmt.Sprint(first)}}
}

// copy copies what is held, of which so many records are in no copy yet.
func (h *holding) copy(run string, want int, pieces ...LeftRange) {
	h.Helper()
	var result HeldResult
	encoded, err := h.env.ExecuteActivity(h.p.CopyHeld, HeldInput{Stream: h.p.Stream, Range: h.whole, Pieces: pieces, Run: run})
	if err == nil {
		err = encoded.Get(&result)
	}
	if err != nil || result.Records != want {
		h.Fatalf("%d records were copied, want %d: %v", result.Records, want, err)
	}
}

func (h *holding) release() {
	h.Helper()
	if _, err := h.env.ExecuteActivity(h.p.ReleaseHeld, HeldInput{Stream: h.p.Stream, Range: h.whole, Run: "any"}); err != nil {
		h.Fatal(err)
	}
}

// copies counts, by sequence number, the open copies that have a record.
func (h *holding) copies() map[string]int {
	h.Helper()
	defer h.shelf.setFickle(h.shelf.setFickle(false))
	found := map[string]int{}
	for key, err := range h.p.Ledger.List(context.Background(), ledger.Filter{}) {
		if err != nil {
			h.Fatal(err)
		}
		e, err := h.p.Ledger.Get(context.Background(), key)
		if err != nil || e.Held == nil || e.Range.Count != len(e.Records) || e.Range.First != e.Records[0].Sequence || e.Range.Last != e.Records[len(e.Records)-1].Sequence {
			h.Fatalf("%s has %+v, %v", key, e, err)
		}
		for _, r := range e.Records {
			if len(r.Data) == 0 || r.Arrived.IsZero() || r.Error.Type != "odd" {
				h.Errorf("%s has of %s %+v", key, r.Sequence, r)
			}
			found[r.Sequence]++
		}
	}
	return found
}

// expect fails unless exactly these records are in one open copy each.
func (h *holding) expect(records ...int) {
	h.Helper()
	got := h.copies()
	for _, n := range records {
		if got[sequence(n)] != 1 {
			h.Errorf("record %d is in %d copies", n, got[sequence(n)])
		}
	}
	if len(got) != len(records) {
		h.Errorf("%d records are copied, want %d", len(got), len(records))
	}
}

// TestEachRecordHeldIsCopiedOnce, however often a run is killed and begun anew,
// and whatever of it has ended by then.
func TestEachRecordHeldIsCopiedOnce(t *testing.T) {
	t.Parallel()
	h := newHolding(t, 100)
	h.shelf.fickle = true
	h.copy("first", 5, h.piece(5, 5), h.piece(9, 11), h.piece(12, 12))
	h.expect(5, 9, 10, 11, 12)
	if entries := len(slices.Collect(keysOf(h.shelf, "ledger/open/"))); entries != 2 {
		t.Errorf("%d entries for two runs of neighbours", entries)
	}
	h.copy("first", 0, h.piece(5, 5), h.piece(9, 11), h.piece(12, 12)) // its end was not known
	h.copy("second", 0, h.piece(10, 10))
	h.expect(5, 9, 10, 11, 12)
	h.copy("third", 3, h.piece(4, 6), h.piece(12, 13))
	h.expect(4, 5, 6, 9, 10, 11, 12, 13)

	other, err := h.p.Ledger.Add(t.Context(), heldBy("batch/other", h.p, h.records[50:52]))
	for err != nil {
		other, err = h.p.Ledger.Add(t.Context(), heldBy("batch/other", h.p, h.records[50:52]))
	}
	h.release()
	h.release()
	h.expect(50, 51)
	h.shelf.fickle = false
	for _, r := range []int{4, 9} {
		recalled, err := h.p.Ledger.Recall(t.Context(), h.piece(r, r).Range)
		if err != nil || len(recalled) != 1 {
			t.Errorf("of record %d, which was released, there is %v: %v", r, recalled, err)
		}
	}
	for key := range keysOf(h.shelf, "ledger/done/") {
		if e, err := h.p.Ledger.Get(t.Context(), key); err != nil || e.Resolution.How != HowReleased {
			t.Errorf("%s ended with %+v, %v", key, e.Resolution, err)
		}
	}
	if e, err := h.p.Ledger.Get(t.Context(), other); err != nil || e.Resolution != nil {
		t.Errorf("what another one holds is %+v, %v", e.Resolution, err)
	}
	// A later run of the same batch copies anew: what became of the index since
	// is not known.
	h.copy("fourth", 1, h.piece(9, 9))
	h.expect(9, 50, 51)
}

func heldBy(by string, p *Processor, records []stream.Record) ledger.Entry {
	run := Dead{Range: p.rangeOf("shard", records), Records: records, Causes: make([]outcome.Error, len(records))}
	for n := range run.Causes {
		run.Causes[n] = outcome.Error{Type: "odd"}
	}
	e := entryOf(run)
	e.At, e.Held = now(), &ledger.Holder{By: by, Run: "r"}
	return e
}

func keysOf(s *shelf, prefix string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		defer s.setFickle(s.setFickle(false))
		for key, err := range s.Keys(context.Background(), prefix) {
			if err != nil {
				panic(err)
			}
			if !yield(key) {
				return
			}
		}
	}
}

// TestWhatIsTrimmedIsIndexedFromTheCopy: the batch goes on as if the stream had
// it, and reports no loss. What was not copied is reported.
func TestWhatIsTrimmedIsIndexedFromTheCopy(t *testing.T) {
	t.Parallel()
	h := newHolding(t, 20)
	h.copy("run", 7, h.piece(3, 9))
	all := h.records
	h.records = all[7:] // the front is trimmed
	whole := h.p.rangeOf("shard", all[3:13])
	result := indexRange(t, h.p, whole, false)
	if result.Counts.Indexed != 10 || result.Counts.Losses > 0 || len(result.Left) > 0 || h.indexed() != 10 {
		t.Errorf("of a range with a copy: %+v, %d are indexed", result, h.indexed())
	}
	h.records = nil
	result = indexRange(t, h.p, h.p.rangeOf("shard", all[1:13]), false)
	if result.Counts.Earlier() != 7 || result.Counts.Losses != 1 || result.Counts.DeadLetters != 12-7 {
		t.Errorf("of one of which a part was copied: %+v", result)
	}
}

// TestReprocessingTakesFromACopyWhatWasNotGivenUp: what the batch gave up before
// it was terminated is in an entry of its own, and comes home from there, once.
func TestReprocessingTakesFromACopyWhatWasNotGivenUp(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{ModeIngest, ModeDirect} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := newCemetery(t)
				held := ledger.Entry{Kind: ledger.Bulk, At: now(), Range: deadRange(sequence(0), sequence(9), 10), Held: &ledger.Holder{By: "batch/1", Run: "r"}}
				for n := range 10 {
					r := ledger.NewRecord(record(n), outcome.Error{Type: "odd"})
					r.Sequence = sequence(n)
					held.Records = append(held.Records, r)
				}
				key, err := c.ledger.Add(t.Context(), held)
				if err != nil {
					t.Fatal(err)
				}
				given := c.bury(3, "odd", record(3), record(4))
				c.bury(40, "odd", record(40)) // another one's
				got, err := c.run(ReprocessCall{Mode: mode, Run: "1"}, time.Hour)
				if err != nil || !got.Done || got.Counts.Records != 11 || got.Counts.Indexed != 11 || got.Counts.Resolved != 3 || len(c.entries()) > 0 {
					t.Errorf("%+v, %v; open are %v", got, err, c.entries())
				}
				for n := range 10 {
					if mode == ModeIngest && c.puts[fmt.Sprint(n)] != 1 || c.docs[docOf(n)] != 1 {
						t.Errorf("record %d was ingested %d times and is there %d times", n, c.puts[fmt.Sprint(n)], c.docs[docOf(n)])
					}
				}
				e, err := c.ledger.Get(t.Context(), key)
				if err != nil || e.Resolution == nil || e.Records[3].Ended != replacedBy+given {
					t.Errorf("the copy became %+v, %v", e, err)
				}
			})
		})
	}
}

// TestARecoveryKnowsCopies: what is refused again is not entered twice while a
// batch holds it, and what a batch has indexed from its copy comes back.
func TestARecoveryKnowsCopies(t *testing.T) {
	t.Parallel()
	c := newCemetery(t)
	c.bury(1, "odd", record(1))
	held := ledger.Entry{Kind: ledger.Bulk, At: now(), Range: deadRange(sequence(2), sequence(4), 3), Held: &ledger.Holder{By: "batch/1", Run: "r"}}
	for n := 2; n <= 4; n++ {
		held.Records = append(held.Records, ledger.NewRecord(record(n), outcome.Error{Type: "odd"}))
	}
	key, err := c.ledger.Add(t.Context(), held)
	if err != nil {
		t.Fatal(err)
	}
	b, shard := &buried{ledger: c.ledger, stream: cemeteryStream}, held.Range.Shard
	tries := 0
	look := func(read func(context.Context) error) bool {
		tries++
		return read(t.Context()) == nil
	}
	for n, want := range []string{"", "given", "held", "held", "held", ""} {
		given, _ := b.given(look, shard, sequence(n))
		holds, known := b.holds(look, shard, sequence(n))
		if given != (want == "given") || holds != (want != "") || !known {
			t.Errorf("record %d is given %t, and there %t, want %q", n, given, holds, want)
		}
	}
	if _, known := b.holds(func(func(context.Context) error) bool { return false }, "other", "1"); known {
		t.Error("who was stopped knows")
	}
	if tries != 2 { // its keys, and the entry
		t.Errorf("the ledger was read %d times", tries)
	}
	began := time.Now()
	if e := c.entries()[key]; wantsEntry(e, began, began) {
		t.Error("held records are taken for indexed")
	}
	if err := c.ledger.Resolve(t.Context(), key, ledger.Resolution{How: HowReleased, At: began.Add(time.Second)}); err != nil {
		t.Fatal(err)
	}
	if e, err := c.ledger.Get(t.Context(), key); err != nil || !wantsEntry(e, began, began) || wantsEntry(e, began, began.Add(time.Minute)) {
		t.Errorf("what was released in the window is not wanted, or later, %v", err)
	}
}

// TestWhatCameHomeIsNotBuried: not any more, whatever its entry is open for,
// neighbours, scattered records or parked ones. Mode ingest puts it, and verify
// brings it back.
func TestWhatCameHomeIsNotBuried(t *testing.T) {
	t.Parallel()
	const records = 6
	for name, shape := range map[string]func(e *ledger.Entry){
		"neighbours": func(*ledger.Entry) {},
		"scattered":  func(e *ledger.Entry) { e.Sparse = true },
		"parked":     func(e *ledger.Entry) { e.Kind, e.Sparse, e.Index = ledger.Parked, true, "telemetry-span-2026.11.23" },
		"resolved, and listed as open still": func(e *ledger.Entry) {
			e.Records = e.Records[:2]
			e.Resolution = &ledger.Resolution{How: HowIndexed}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCemetery(t)
			e := ledger.Entry{Kind: ledger.Bulk, At: now(), Range: deadRange(sequence(0), sequence(records-1), records)}
			for n := range records {
				r := ledger.NewRecord(record(n), outcome.Error{Type: "odd"})
				r.Sequence, r.Ended = sequence(n), []string{"", indexedNow, indexedBefore, replacedBy + "ledger/open/x"}[n%4]
				e.Records = append(e.Records, r)
			}
			shape(&e)
			if _, err := c.ledger.Add(t.Context(), e); err != nil {
				t.Fatal(err)
			}
			var want []int // came home
			for n, r := range e.Records {
				if e.Resolution != nil || r.Ended == indexedNow || r.Ended == indexedBefore {
					want = append(want, n)
				}
			}
			documents := &taken{}
			s := &Sweeper{Stream: cemeteryStream, Ledger: c.ledger, Replayer: documents, Documents: documents, Limiter: limiter.New(1, 0)}
			chunkOf := func() *sweepChunk {
				c := &sweepChunk{}
				for n, r := range e.Records {
					c.records = append(c.records, stream.Record{Sequence: sequence(n), Data: r.Data})
					c.lines = append(c.lines, backup.Line{Shard: e.Range.Shard, Record: backup.Record{Sequence: sequence(n), Data: r.Data}})
				}
				return c
			}
			for _, stage := range []string{SweepBackfill, SweepVerify} {
				call := newSweep(t.Context(), t.Context(), s, SweepInput{Stage: stage}, Plan{Mode: ModeIngest}, nil, SweepProgress{})
				defer call.abandon()
				documents.records = nil
				part := chunkOf()
				ok := stage == SweepBackfill && call.putChunk(part) || stage == SweepVerify && call.dropPresent(part)
				got := documents.records
				if stage == SweepVerify {
					got = nil
					for _, r := range part.records {
						got = append(got, r.Data)
					}
				}
				if !ok || len(got) != len(want) || part.buried != int64(len(e.Records)-len(want)) {
					t.Fatalf("%s: it brings %d of %d records, and takes %d for buried", stage, len(got), len(want), part.buried)
				}
				for i, n := range want {
					if !bytes.Equal(got[i], record(n)) {
						t.Errorf("%s: it brings %s, want record %d", stage, got[i], n)
					}
				}
			}
		})
	}
}

// taken is a stream that takes everything, and Elasticsearch that has nothing.
type taken struct {
	SweptDocuments
	records [][]byte
}

// Replay implements Replayer.
func (d *taken) Replay(_ context.Context, records [][]byte) []stream.Rejection {
	d.records = append(d.records, records...)
	return nil
}

// Find implements Lookup.
func (*taken) Find(_ context.Context, documents []sink.Reference) ([]sink.Found, error) {
	return make([]sink.Found, len(documents)), nil
}

// listed are shards.
type listed []string

func (l listed) Shards(context.Context) (shards []stream.Shard, err error) {
	for _, id := range l {
		shards = append(shards, stream.Shard{ID: id})
	}
	return shards, nil
}

func TestOpenCopiesAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := ledger.New(newShelf(), "telemetry")
		s := &Supervisor{Stream: cemeteryStream, Shards: listed{"a", "b", "c"}, Ledger: l}
		add := func(shard, first, last string, age time.Duration) string {
			e := ledger.Entry{Kind: ledger.Bulk, Held: &ledger.Holder{By: "batch/1", Run: "r"}, Range: telemetry.Range{
				StreamARN: cemeteryStream.ARN, StreamCreated: cemeteryStream.Created, Shard: shard, First: first, Last: last,
			}, Records: []ledger.Record{{Arrived: time.Now().Add(-age)}}}
			key, err := l.Add(t.Context(), e)
			if err != nil {
				t.Fatal(err)
			}
			return key
		}
		add("a", "99", "99", 3*time.Hour) // before 100, though not as a text
		oldest := add("a", "98", "98", 13*time.Hour)
		add("a", "100", "120", 2*time.Hour)
		add("c", "5", "6", time.Hour)
		if err := l.Resolve(t.Context(), add("b", "1", "1", 50*time.Hour), ledger.Resolution{How: HowReleased}); err != nil {
			t.Fatal(err)
		}
		if copies, age, err := s.countCopies(t.Context()); copies != 4 || age != 13*time.Hour || err != nil {
			t.Errorf("%d copies, the oldest of %v, %v", copies, age, err)
		}
		if err := l.Resolve(t.Context(), oldest, ledger.Resolution{How: HowReleased}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.watchCopies(ctx)
		}()
		synctest.Wait()
		registry := prometheus.NewRegistry()
		registry.MustRegister(openCopies, oldestCopy)
		said := func() (values []float64) {
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range families {
				for _, metric := range family.GetMetric() {
					values = append(values, metric.GetGauge().GetValue())
				}
			}
			return values
		}
		if got := said(); !slices.Equal(got, []float64{3, (3 * time.Hour).Seconds()}) {
			t.Errorf("the gauges say %v", got)
		}
		cancel()
		<-ended
		if got := said(); len(got) > 0 {
			t.Errorf("the gauges outlive the call, with %v", got)
		}
	})
}

// TestCopiesAreDueAtHalfOfTheRetention, unless a setting says otherwise.
func TestCopiesAreDueAtHalfOfTheRetention(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)
	for name, c := range map[string]struct{ retention, setting, want time.Duration }{
		"a day":      {24 * time.Hour, 0, 12 * time.Hour},
		"a week":     {168 * time.Hour, 0, 84 * time.Hour},
		"not known":  {0, 0, DefaultCopyAfter},
		"as it says": {24 * time.Hour, time.Minute, time.Minute},
	} {
		w := calmWorld(1)
		w.retention = c.retention
		p := w.processor()
		p.Limits.CopyAfter = c.setting
		s := newSettler(t.Context(), p, "shard")
		if got := s.copyAt(stream.Record{Arrived: at}).Sub(at); got != c.want {
			t.Errorf("%s: after %v, want %v", name, got, c.want)
		}
		s.abandon()
	}
	if err := (ProcessLimits{CopyAfter: -1}).Validate(); err == nil || !strings.Contains(err.Error(), "--copy-after") {
		t.Errorf("a negative age gives %v", err)
	}
}
