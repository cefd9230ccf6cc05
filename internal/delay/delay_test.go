package delay

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

var start = time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)

func TestEveryDelayFallsIntoItsBucket(t *testing.T) {
	t.Parallel()
	for bucket := range buckets {
		first, next := lowest(bucket), lowest(bucket+1)
		if bucketOf(first) != bucket || bucketOf(next-1) != bucket {
			t.Fatalf("bucket %d: its bounds %d and %d fall into %d and %d",
				bucket, first, next-1, bucketOf(first), bucketOf(next-1))
		}
		if width := next - first; width > 1 && width*subs > first {
			t.Fatalf("bucket %d from %d is %d wide", bucket, first, width)
		}
	}
	if last := lowest(buckets); last != largest {
		t.Errorf("the last bucket ends at %d, want %d", last, largest)
	}
	if got := bucketOf(1 << 60); got != buckets-1 {
		t.Errorf("an absurd delay falls into %d", got)
	}
}

func TestSummaryMatchesSortedList(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 100, 10_000} {
		h := New()
		var delays []time.Duration
		var received []Received
		sum := time.Duration(0)
		for range n {
			delay := time.Duration(random.ExpFloat64()*1300) * time.Millisecond
			delays = append(delays, delay)
			received = append(received, Received{At: start.Add(-delay)})
			sum += delay
		}
		h.ObserveBatch(start, received)
		slices.Sort(delays)
		got := h.Summary()
		if got.Count != uint64(n) || got.Average != sum/time.Duration(n) || got.Max != delays[n-1] {
			t.Errorf("%d records: %+v, want average %s, maximum %s", n, got, sum/time.Duration(n), delays[n-1])
		}
		for _, q := range []struct {
			got     time.Duration
			percent int
		}{{got.P50, 50}, {got.P99, 99}} {
			want := delays[(n*q.percent+99)/100-1]
			if off := (q.got - want).Abs(); off > want/64+time.Millisecond/2 {
				t.Errorf("%d records: p%d is %s, the list says %s", n, q.percent, q.got, want)
			}
		}
	}
}

func TestNegativeDelaysAreClampedAndCounted(t *testing.T) {
	t.Parallel()
	h := New()
	h.Observe(Received{At: start.Add(time.Hour)}, start)
	h.Observe(Received{At: start.Add(-40 * time.Millisecond)}, start)
	got := h.Summary()
	if got.NegativeTotal != 1 || got.Count != 2 || got.Average != 20*time.Millisecond || got.Max != 40*time.Millisecond {
		t.Errorf("%+v", got)
	}
}

func TestSummaryForgetsDelaysOutsideWindow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := New()
		observe := func(delay time.Duration) { now := time.Now(); h.Observe(Received{At: now.Add(-delay)}, now) }
		observe(time.Hour)
		time.Sleep(Window / 2)
		observe(time.Second)
		if got := h.Summary(); got.Count != 2 || got.Max != time.Hour {
			t.Errorf("within the window: %+v", got)
		}
		time.Sleep(Window / 2)
		if got := h.Summary(); got.Count != 1 || got.Max != time.Second {
			t.Errorf("after the first left: %+v", got)
		}
		observe(time.Minute) // reuses the slot of the first
		if got := h.Summary(); got.Count != 2 || got.Max != time.Minute {
			t.Errorf("after the slot's second round: %+v", got)
		}
		time.Sleep(2 * Window)
		if got := h.Summary(); got != (Summary{}) {
			t.Errorf("long after: %+v", got)
		}
	})
}

func TestPrometheusSeesEveryRecordInItsBucket(t *testing.T) {
	t.Parallel()
	h := New()
	at := func(ms uint64) { h.Observe(Received{At: start.Add(-time.Duration(ms) * time.Millisecond)}, start) }
	for _, bound := range bounds { // on each bound, and right behind it
		at(bound)
		at(bound + 1)
	}
	at(largest * 2)
	h.Observe(Received{At: start.Add(time.Second)}, start)

	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(h)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	metrics := map[string]*dto.Metric{}
	for _, f := range families {
		metrics[f.GetName()] = f.GetMetric()[0]
	}
	got := metrics["millrace_delay_seconds"].GetHistogram()
	for i, bucket := range got.GetBucket() {
		// The one from the future is under every bound.
		if want := uint64(2*i + 2); bucket.GetUpperBound() != float64(bounds[i])/1000 || bucket.GetCumulativeCount() != want {
			t.Errorf("%d records take up to %v s, want %d up to %d ms",
				bucket.GetCumulativeCount(), bucket.GetUpperBound(), want, bounds[i])
		}
	}
	if want := uint64(2*len(bounds) + 2); got.GetSampleCount() != want || len(got.GetBucket()) != len(bounds) {
		t.Errorf("%d records in %d buckets, want %d in %d", got.GetSampleCount(), len(got.GetBucket()), want, len(bounds))
	}
	if n := metrics["millrace_delay_negative_total"].GetCounter().GetValue(); n != 1 {
		t.Errorf("%v records from the future, want 1", n)
	}
}

// TestEachRegionHasDelaysOfItsOwn: of those beyond MaxRegions, and of names that no
// collector has, there is one series.
func TestEachRegionHasDelaysOfItsOwn(t *testing.T) { // not parallel: allocations are counted
	h := New()
	if got := collected(t, h); len(got) != 1 || got[all] == nil || got[all].GetSampleCount() != 0 {
		t.Errorf("before the first record: %v", got)
	}
	observe := func(name string, delay time.Duration) {
		h.Observe(Received{start.Add(-delay), h.Region([]byte(name))}, start)
	}
	for n := range MaxRegions - 1 {
		observe(fmt.Sprintf("region-%d", n), time.Second)
	}
	observe("", 2*time.Second)
	if got := collected(t, h); len(got) != 1+MaxRegions || got["other"] != nil {
		t.Errorf("%d regions, want %d and no others: %v", len(got), MaxRegions, got["other"])
	}
	others := []string{"one too many", "and another", strings.Repeat("x", MaxRegionSize+1), "\xff", "other"}
	for _, name := range others {
		observe(name, 3*time.Second)
	}
	observe("region-7", 4*time.Second)
	got := collected(t, h)
	for name, want := range map[string]struct {
		count uint64
		sum   float64
	}{"region-0": {1, 1}, "region-7": {2, 5}, "": {1, 2}, "other": {uint64(len(others)), 3 * float64(len(others))}, all: {uint64(MaxRegions + 1 + len(others)), float64(MaxRegions-1) + 2 + 4 + 3*float64(len(others))}} {
		if got := got[name]; got.GetSampleCount() != want.count || got.GetSampleSum() != want.sum {
			t.Errorf("%q: %d records took %v s, want %+v", name, got.GetSampleCount(), got.GetSampleSum(), want)
		}
	}
	if len(got) != MaxRegions+2 || h.Summary().Count != uint64(MaxRegions+len(others)+1) {
		t.Errorf("%d series, %+v", len(got), h.Summary())
	}
	if allocations := testing.AllocsPerRun(100, func() { h.Region([]byte("region-7")) }); allocations != 0 {
		t.Errorf("%v allocations", allocations)
	}
}

// all is where collected keeps the histogram of all regions.
const all = "all of them"

// collected are the histograms of h, by region.
func collected(t *testing.T, h *Histogram) map[string]*dto.Histogram {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(h)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	of := map[string]*dto.Histogram{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			switch f.GetName() {
			case "millrace_delay_seconds":
				of[all] = m.GetHistogram()
			case "millrace_region_delay_seconds":
				of[m.GetLabel()[0].GetValue()] = m.GetHistogram()
			}
		}
	}
	return of
}

func TestConcurrentObservationsAllCount(t *testing.T) {
	t.Parallel()
	const goroutines, batches, size = 8, 100, 50
	h := New()
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			received := make([]Received, size)
			for i := range received {
				received[i].At = start.Add(-time.Second)
			}
			for range batches {
				received[0].Region = h.Region([]byte{'a' + byte(rand.IntN(20))})
				h.ObserveBatch(start, received)
				h.Summary()
			}
		})
	}
	group.Wait()
	if got := h.Summary().Count; got != goroutines*batches*size {
		t.Errorf("%d records, want %d", got, goroutines*batches*size)
	}
}

// One operation is one record, in bulks of 1,000.
func BenchmarkObserveBatch(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 2))
	h := New()
	received := make([]Received, 1000)
	for i := range received {
		received[i] = Received{start.Add(-time.Duration(random.ExpFloat64()*1300) * time.Millisecond), h.Region([]byte("eu-west-1"))}
	}
	b.ReportAllocs()
	for n := b.N; n > 0; n -= len(received) {
		h.ObserveBatch(start, received[:min(n, len(received))])
	}
}

func BenchmarkSummary(b *testing.B) {
	h := New()
	for ms := range 10_000 {
		h.Observe(Received{At: start.Add(-time.Duration(ms) * time.Millisecond)}, start)
	}
	for b.Loop() {
		h.Summary()
	}
}
