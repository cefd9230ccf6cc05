package process

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/circuit"
	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// TestAnOffenderCostsOthersNothing: one tenant sends only poison, at the rate of
// all others together. Nothing of theirs is dead, the shard goes on, and the
// ledger gets few entries that list exactly the refused records.
func TestAnOffenderCostsOthersNothing(t *testing.T) {
	t.Parallel()
	for name, tenants := range map[string][]string{
		"beside others": {"bad", "a", "bad", "b", "bad", "c"},
		"alone":         {"bad"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := tenantBackends(6000, tenants...)
			w.item = w.badTenants("bad")
			p := w.processor()
			letters := letterBox{}
			p.DeadLetters = deadletter.NewWriter(p.Ledger, letters)
			began := time.Now()
			got := indexShard(t, p, IndexInput{For: time.Minute})
			seconds := time.Since(began).Seconds()
			if got.Tripped || !got.Checkpoint.Closed || got.Counts.Records != 6000 || got.Counts.HandedOver > 0 {
				t.Fatalf("the result is %+v", got)
			}
			dead := map[string]bool{}
			entries := 0
			for key, err := range p.Ledger.List(t.Context(), ledger.Filter{}) {
				if err != nil {
					t.Fatal(err)
				}
				entries++
				e, err := p.Ledger.Get(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range e.Records {
					if r.Tenant != "bad" || dead[r.Sequence] {
						t.Errorf("%s of %s is dead, or is again", r.Sequence, r.Tenant)
					}
					dead[r.Sequence] = true
				}
			}
			bad := 0
			for n, r := range w.Records {
				isBad := telemetry.ParseFields(r.Data).Tenant == "bad"
				if isBad {
					bad++
				}
				if dead[r.Sequence] != isBad || w.ids[w.docs[n]] == isBad {
					t.Fatalf("record %d: bad %t, dead %t, indexed %t", n, isBad, dead[r.Sequence], w.ids[w.docs[n]])
				}
			}
			// Until a tenant is judged each chunk has entries of its own.
			before := mostRuns * (circuit.Least/w.processor().Limits.BulkRecords + DefaultBulksPerShard + 1)
			if most := before + 2*int(seconds+1); entries > most {
				t.Errorf("%d records have %d entries in %.1f s, more than %d", bad, entries, seconds, most)
			}
			at := slices.IndexFunc(got.Tenants, func(s circuit.TenantState) bool { return s.Tenant == "bad" })
			if at < 0 || !got.Tenants[at].Offends() || got.Tenants[at].Share() < 0.99 || got.Tenants[at].DeadLetters < int64(bad-2*circuit.Least) {
				t.Errorf("the tenants are %+v", got.Tenants)
			}
		})
	}
}

// TestLookUpsReadTheListOfASparseEntry: what lies between its records is not
// dead.
func TestLookUpsReadTheListOfASparseEntry(t *testing.T) {
	t.Parallel()
	w := tenantBackends(400, "bad", "a", "b")
	w.item = w.badTenants("bad")
	p := w.processor()
	p.DeadLetters = deadletter.NewWriter(p.Ledger, letterBox{})
	if got := indexShard(t, p, IndexInput{For: time.Minute}); !got.Checkpoint.Closed {
		t.Fatalf("the result is %+v", got)
	}
	sparse := 0
	for key, err := range p.Ledger.List(t.Context(), ledger.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := ledger.RangeOf(key, p.Stream.Created); ok {
			continue
		}
		if _, ok := ledger.ManyOf(key, p.Stream.Created); !ok {
			t.Errorf("the key %s cannot be read", key)
		}
		sparse++
	}
	if sparse == 0 {
		t.Fatal("no entry is sparse")
	}
	b, call := deadletter.NewOpen(p.Ledger, p.Stream), longcall.Begin(t.Context())
	defer call.Abandon()
	for n, r := range w.Records {
		there, known := b.HasOrHolds(call, "shard", r.Sequence)
		if want := n%3 == 0; !known || there != want {
			t.Errorf("record %d is in the open ledger: %t, want %t", n, there, want)
		}
	}
}

// TestMarkNeverPassesWhatIsPooled processes a shard half of which is an
// offender's, some of it not attributable, while everything fails at random and
// calls are stopped at any moment.
func TestMarkNeverPassesWhatIsPooled(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			w, random := newBackends(seed, 0), rand.New(rand.NewPCG(seed, 3))
			for n := range 2000 {
				w.add(n, map[bool]string{true: "bad", false: "good"}[n%2 == 0])
			}
			bad := w.badTenants("bad")
			w.item = func(id telemetry.DocID) outcome.Class {
				if w.chance(40) {
					return outcome.Transient
				}
				return bad(id)
			}
			w.whole = func(ids []telemetry.DocID) bool {
				return slices.ContainsFunc(ids, func(id telemetry.DocID) bool { return bad(id) == outcome.Poison && id[0] < 4 })
			}
			p := w.processor()
			at, counts, known := telemetry.Checkpoint{}, indexing.Counts{}, []circuit.TenantState(nil)
			for calls := 0; !at.Closed; calls++ {
				if calls == 400 {
					t.Fatalf("seed %d: still at %+v", seed, at)
				}
				m := newMark(at, counts)
				line := newPipeline(t.Context(), p, "shard", circuit.New(circuit.Settings{Known: known}), m)
				finished := make(chan struct{})
				go func() {
					defer close(finished)
					line.run(p.Source.Read("shard", at))
				}()
				stop := time.After(time.Duration(random.IntN(8000)) * time.Millisecond)
				for done := false; !done; {
					select {
					case <-finished:
						done = true
					case <-stop:
						line.work.call.Stop(longcall.ErrCanceled)
						if random.IntN(2) == 0 {
							line.work.call.Abandon()
						}
					case <-time.After(50 * time.Millisecond):
						w.check(t, m.state())
					}
				}
				line.work.call.Abandon()
				w.check(t, m.state())
				at, counts, known = m.state().checkpoint, m.state().counts, line.circuit.Told()
			}
			if counts.Records != 2000 || counts.DeadLetters == 0 {
				t.Fatalf("seed %d: in the end the counts are %+v", seed, counts)
			}
			for n, r := range w.Records {
				if bad(w.docs[n]) == outcome.Indexed && w.durable[r.Sequence] == "ledger" {
					t.Fatalf("a good record is in the ledger")
				}
			}
		})
	}
}

// TestOneTenantsPoisonKeepsNoOthersRecords from the index, also where whole
// requests are refused for it; and there are few ProcessBatch workflows.
func TestOneTenantsPoisonKeepsNoOthersRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := tenantBackends(6000, "bad", "a", "bad", "b")
		bad := w.badTenants("bad")
		w.whole = func(ids []telemetry.DocID) bool {
			return slices.ContainsFunc(ids, func(id telemetry.DocID) bool { return bad(id) == outcome.Poison })
		}
		p := w.processor()
		p.Limits.BulkRecords = 390 // pieces of 25, so that some hold records of two tenants
		batches := &countingStarter{BatchStarter: w}
		p.Batches = batches
		line := newPipeline(t.Context(), p, "shard", circuit.New(circuit.Settings{}), newMark(telemetry.Checkpoint{}, indexing.Counts{}))
		defer line.work.call.Abandon()
		began := time.Now()
		line.run(p.Source.Read("shard", telemetry.Checkpoint{}))
		state := line.mark.state()
		if !state.checkpoint.Closed {
			t.Fatalf("the mark is at %+v", state)
		}
		for n := range w.Records {
			if bad(w.docs[n]) == outcome.Indexed && !w.ids[w.docs[n]] {
				t.Fatalf("record %d of another tenant is not indexed", n)
			}
		}
		if most := DefaultBulksPerShard + 1 + int(time.Since(began)/poolFor); batches.started > most {
			t.Errorf("%d ProcessBatch workflows in %v", batches.started, time.Since(began))
		}
	})
}

// countingStarter lets ranges have more records than they count, as those have
// that were merged.
type countingStarter struct {
	BatchStarter
	mu      sync.Mutex
	started int
}

func (c *countingStarter) StartBatch(context.Context, telemetry.StreamID, telemetry.Range, outcome.Error, time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started++
	return nil
}

// TestAPoolKeepsItsOwnMemory: that of the chunk is used again.
func TestAPoolKeepsItsOwnMemory(t *testing.T) {
	t.Parallel()
	w := calmBackends(1)
	p := newPool(w.processor().begin(t.Context(), "shard"), DefaultPrefetchBytes)
	c := &chunk{Chunk: indexing.Chunk{Records: slices.Clone(w.Records)}, aside: []indexing.Verdict{{At: 0}}}
	c.Records[0].Data = bytes.Clone(c.Records[0].Data)
	p.add(c, func(indexing.Counts) {})
	want := bytes.Clone(c.Records[0].Data)
	clear(c.Records[0].Data)
	if got := p.next(); !bytes.Equal(got.records[0].Data, want) {
		t.Error("it shares the chunk's memory")
	}
}
