package dedup

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"millrace/internal/telemetry"
)

// id makes the n-th of many ids that are spread like hashes.
func id(n uint64) telemetry.DocID {
	var d telemetry.DocID
	x := n * 0x9e3779b97f4a7c15
	x ^= x >> 29
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 32
	binary.LittleEndian.PutUint64(d[:], x)
	binary.LittleEndian.PutUint64(d[8:], n)
	return d
}

// sum makes a digest of an id.
func sum(d telemetry.DocID) uint32 { return binary.LittleEndian.Uint32(d[8:]) + 1 }

func seen(c *Cache, d telemetry.DocID) bool {
	_, seen := c.Seen(d)
	return seen
}

// reference says what one shard must hold: a list in order of arrival.
type reference struct {
	order []telemetry.DocID
	held  map[telemetry.DocID]bool
}

func (r *reference) mark(d telemetry.DocID, capacity int) {
	if r.held[d] {
		return
	}
	if len(r.order) == capacity {
		for _, old := range r.order[:evictAtOnce] {
			delete(r.held, old)
		}
		r.order = r.order[evictAtOnce:]
	}
	r.order = append(r.order, d)
	r.held[d] = true
}

func TestCacheMatchesReferenceList(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	c := New(500 * shards)
	want := make([]reference, shards)
	for i := range want {
		want[i].held = map[telemetry.DocID]bool{}
	}
	const universe = 120_000
	for range 600_000 {
		d := id(random.Uint64N(universe))
		s, _ := c.find(d)
		at := shardIndex(c, s)
		if random.IntN(2) == 0 {
			c.Mark(0, d, sum(d))
			want[at].mark(d, s.capacity)
		} else if digest, got := c.Seen(d); got != want[at].held[d] || got && digest != sum(d) {
			t.Fatalf("Seen is %v with %d, the list says %v with %d", got, digest, !got, sum(d))
		}
	}
	size := 0
	for n := range uint64(universe) {
		d := id(n)
		s, _ := c.find(d)
		if digest, got := c.Seen(d); got != want[shardIndex(c, s)].held[d] || got && digest != sum(d) {
			t.Fatalf("id %d: Seen is %v with %d, the list says %v", n, got, digest, !got)
		}
	}
	for i := range want {
		size += len(want[i].order)
	}
	if stats := c.Stats(); stats.Size != size || stats.Evictions == 0 || stats.Evictions%evictAtOnce != 0 {
		t.Errorf("stats %+v, want size %d and evictions in hundreds", stats, size)
	}
}

func shardIndex(c *Cache, s *shard) int {
	for i := range c.shards {
		if &c.shards[i] == s {
			return i
		}
	}
	return -1
}

func TestCacheSeparatesIDsWithEqualHash(t *testing.T) {
	t.Parallel()
	c := New(shards * evictAtOnce)
	same := func(n uint64) telemetry.DocID {
		var d telemetry.DocID
		binary.LittleEndian.PutUint64(d[8:], n)
		return d
	}
	// More than a shard holds, all at one home: every search is a long one,
	// and every eviction leaves a hole in its middle.
	for n := range uint64(3 * evictAtOnce) {
		if seen(c, same(n)) {
			t.Fatalf("id %d is seen before it is marked", n)
		}
		c.Mark(0, same(n), 1)
		if !seen(c, same(n)) {
			t.Fatalf("id %d is not seen after it is marked", n)
		}
	}
	if seen(c, same(0)) || seen(c, same(evictAtOnce)) || !seen(c, same(2*evictAtOnce)) {
		t.Error("not the oldest were evicted")
	}
}

// Many at once are as many, one by one.
func TestManyAreAsOneByOne(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	one, many := New(500*shards), New(500*shards)
	var held []Held
	for range 300 {
		ids, digests := make([]telemetry.DocID, random.IntN(1000)), []uint32(nil)
		for i := range ids { // some of them twice
			ids[i] = id(random.Uint64N(60_000))
			digests = append(digests, sum(ids[i]))
		}
		held = many.SeenAll(ids, held[:0])
		for i, d := range ids {
			if digest, seen := one.Seen(d); (held[i] != Held{digest, seen}) {
				t.Fatalf("SeenAll finds %+v at %d, Seen %d, %v", held[i], i, digest, seen)
			}
		}
		many.MarkAll(0, ids, digests)
		for i, d := range ids {
			one.Mark(0, d, digests[i])
		}
	}
	if stats := one.Stats(); stats != many.Stats() || stats.Evictions == 0 {
		t.Errorf("one by one %+v, many at once %+v", stats, many.Stats())
	}
	for n := range uint64(60_000) {
		if seen(one, id(n)) != seen(many, id(n)) {
			t.Fatalf("id %d is not in both", n)
		}
	}
	many.Raise(2)
	many.MarkAll(1, []telemetry.DocID{id(1)}, []uint32{1})
	if seen(many, id(1)) {
		t.Error("marks of an earlier generation were taken")
	}
}

func TestRaiseForgetsAndRefusesOldMarks(t *testing.T) {
	t.Parallel()
	c := New(DefaultCapacity)
	before := c.Generation()
	c.Mark(before, id(1), 1)
	c.Raise(7)
	if seen(c, id(1)) {
		t.Error("an id of an earlier generation is still seen")
	}
	c.Mark(before, id(2), 1)
	if seen(c, id(2)) {
		t.Error("a mark of an earlier generation was taken")
	}
	c.Mark(c.Generation(), id(3), 1)
	c.Raise(6)
	if !seen(c, id(3)) || c.Generation() != 7 {
		t.Error("an older generation was taken")
	}
}

// A digest that was not known is made good, and stays as it is then.
func TestMarkFillsInMissingDigest(t *testing.T) {
	t.Parallel()
	c := New(DefaultCapacity)
	for _, mark := range []struct{ digest, want uint32 }{{0, 0}, {7, 7}, {8, 7}, {0, 7}} {
		c.Mark(0, id(1), mark.digest)
		if digest, seen := c.Seen(id(1)); !seen || digest != mark.want {
			t.Errorf("after a mark with %d it is %v with %d", mark.digest, seen, digest)
		}
	}
	if size := c.Stats().Size; size != 1 {
		t.Errorf("one id counts as %d", size)
	}
}

func TestConcurrentMarksAreNotLost(t *testing.T) {
	t.Parallel()
	const writers, each = 8, 20_000
	c := New(2 * writers * each)
	var group sync.WaitGroup
	for w := range uint64(writers) {
		group.Go(func() {
			for n := range uint64(each) {
				c.Mark(0, id(w*each+n), 1)
				seen(c, id(n))
			}
		})
	}
	group.Wait()
	for n := range uint64(writers * each) {
		if !seen(c, id(n)) {
			t.Fatalf("id %d is lost", n)
		}
	}
}

func TestMetricsAreReadFromTheCache(t *testing.T) {
	t.Parallel()
	c := New(shards * evictAtOnce)
	registry := prometheus.NewRegistry()
	c.Register(registry)
	for n := range uint64(2 * shards * evictAtOnce) {
		c.Mark(0, id(n), 1)
	}
	seen(c, id(2*shards*evictAtOnce-1))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		got[f.GetName()] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	stats := c.Stats()
	if got["millrace_dedup_hits_total"] != 1 || got["millrace_dedup_ids"] != float64(stats.Size) ||
		got["millrace_dedup_evictions_total"] != float64(stats.Evictions) || stats.Evictions == 0 {
		t.Errorf("metrics %v, stats %+v", got, stats)
	}
}

func TestLookupsAndInsertsDoNotAllocate(t *testing.T) {
	c := New(shards * evictAtOnce)
	n := uint64(0)
	for ; n < 4*shards*evictAtOnce; n++ { // full, and evicting
		c.Mark(0, id(n), 1)
	}
	if allocations := testing.AllocsPerRun(10_000, func() {
		c.Mark(0, id(n), 1)
		seen(c, id(n))
		n++
	}); allocations != 0 {
		t.Errorf("%v allocations an id", allocations)
	}
}

// heap returns the bytes that are in use.
func heap() uint64 {
	var now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&now)
	return now.HeapAlloc
}

// Whether it is full, evicts, or has just doubled something.
func TestIDTakesAtMost48Bytes(t *testing.T) {
	const capacity, most = 250_000, 48
	before, worst := heap(), 0.0
	c := New(capacity)
	for n, next := uint64(0), capacity/50; n < capacity*11/10; n++ {
		c.Mark(0, id(n), 1)
		if size := c.Stats().Size; n%1000 == 0 && size >= next {
			worst = max(worst, float64(heap()-before)/float64(size))
			next = size * 102 / 100
		}
	}
	if full := float64(heap()-before) / float64(c.Stats().Size); full > most || worst > most || c.Stats().Evictions == 0 {
		t.Errorf("%.1f bytes an id when full, up to %.1f before, want at most %d; %+v", full, worst, most, c.Stats())
	} else {
		t.Logf("%.1f bytes an id when full, up to %.1f before", full, worst)
	}
	runtime.KeepAlive(c)
}

// resident returns the bytes of memory that the process has, 0 where that is
// not known.
func resident() float64 {
	text, err := os.ReadFile("/proc/self/statm") // proc(5): size and resident, in pages
	if err != nil {
		return 0
	}
	var size, pages float64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		return 0
	}
	return pages * float64(os.Getpagesize())
}

// A worker that begins: bulks of ids that never came, looked up and marked, until the cache holds a million.
func BenchmarkFill(b *testing.B) {
	const total, bulk = 1_000_000, 8000
	ids, digests, held := make([]telemetry.DocID, bulk), make([]uint32, bulk), []Held(nil)
	for b.Loop() {
		c := New(DefaultCapacity)
		for n := 0; n < total; n += bulk {
			for i := range ids {
				ids[i], digests[i] = id(uint64(n+i)), 1
			}
			held = c.SeenAll(ids, held[:0])
			c.MarkAll(0, ids, digests)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/total, "ns/id")
}

// BenchmarkFillColdly is BenchmarkFill with a bulk's worth of other memory used before each of the two, as a worker does.
func BenchmarkFillColdly(b *testing.B) {
	const total, bulk = 1_000_000, 8000
	ids, digests, held := make([]telemetry.DocID, bulk), make([]uint32, bulk), []Held(nil)
	others := make([]byte, 32<<20)
	var took time.Duration
	timed := func(do func()) {
		for i := 0; i < len(others); i += 64 {
			others[i]++
		}
		begin := time.Now()
		do()
		took += time.Since(begin)
	}
	for b.Loop() {
		c := New(DefaultCapacity)
		for n := 0; n < total; n += bulk {
			for i := range ids {
				ids[i], digests[i] = id(uint64(n+i)), 1
			}
			timed(func() { held = c.SeenAll(ids, held[:0]) })
			timed(func() { c.MarkAll(0, ids, digests) })
		}
	}
	b.ReportMetric(float64(took.Nanoseconds())/float64(b.N)/total, "ns/id")
}

// At the default capacity, full and evicting: time and memory of an id.
func BenchmarkFull(b *testing.B) {
	debug.FreeOSMemory()
	before, residentBefore := heap(), resident()
	c := New(DefaultCapacity)
	n := uint64(0)
	for ; n < DefaultCapacity*11/10; n++ {
		c.Mark(0, id(n), 1)
	}
	residentGrown := resident() // with what doubling left behind
	perID := float64(heap()-before) / float64(c.Stats().Size)
	debug.FreeOSMemory()
	residentPerID := (resident() - residentBefore) / float64(c.Stats().Size)
	residentMost := (residentGrown - residentBefore) / float64(c.Stats().Size)
	b.Run("mark", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			c.Mark(0, id(n), 1)
			n++
		}
		b.ReportMetric(perID, "heap-B/id")
		b.ReportMetric(residentPerID, "resident-B/id")
		b.ReportMetric(residentMost, "resident-while-growing-B/id")
	})
	b.Run("seen", func(b *testing.B) {
		b.ReportAllocs()
		m := n
		for b.Loop() {
			if m--; m+DefaultCapacity/2 < n {
				m = n - 1
			}
			if !seen(c, id(m)) {
				b.Fatal("a recent id is not seen")
			}
		}
	})
	b.Run("unseen", func(b *testing.B) {
		b.ReportAllocs()
		m := uint64(1) << 40
		for b.Loop() {
			m++
			if seen(c, id(m)) {
				b.Fatal("an id that never came is seen")
			}
		}
	})
}
