// Package delay measures how long a record takes from 'received by the
// collector' to 'saved in Elasticsearch': the figure that this system is
// judged by, so every record counts and none is sampled.
//
// One structure serves Prometheus, which wants totals in few fixed buckets,
// and an operator's question for average, p50, p99 and maximum of the last
// minutes. The client library's histogram answers only the first; the HDR
// libraries only the second, and they know no window.
package delay

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// Window is how far back Summary looks, give or take one slot.
	Window = 5 * time.Minute
	// RecentWindow is how far back Recent looks, for those who act on it.
	RecentWindow = 6 * time.Second

	slots = 30 // of a window
)

// Histogram counts delays. It is safe for concurrent use.
type Histogram struct {
	mu sync.Mutex

	// Since the start, for Prometheus.
	totals   []*totals // by Region
	negative uint64

	window, recent ring

	regions atomic.Pointer[map[string]Region] // replaced as a whole, under mu
}

// ring has the slots of a window, by the time of observation.
type ring struct {
	span  time.Duration // of a slot
	slots [slots]slot
}

// slot holds what was observed within one span of a ring.
type slot struct {
	number int64 // which span since 1970
	counts [buckets]uint32
	count  uint64
	sum    uint64
	max    uint64
}

// New makes an empty histogram.
func New() *Histogram {
	h := &Histogram{totals: []*totals{{region: otherRegions}}, window: ring{span: Window / slots}, recent: ring{span: RecentWindow / slots}}
	h.regions.Store(&map[string]Region{})
	return h
}

// Observe counts one record. See ObserveBatch.
func (h *Histogram) Observe(received Received, indexed time.Time) {
	h.ObserveBatch(indexed, []Received{received})
}

// ObserveBatch counts the records of one bulk: when the collector received
// each, and when Elasticsearch had answered that they are indexed. A record
// from the future, by a collector's clock that is ahead, counts as no delay
// and as negative. Delays are kept in milliseconds, as received_at is.
func (h *Histogram) ObserveBatch(indexed time.Time, received []Received) {
	now := indexed.UnixMilli()
	h.mu.Lock()
	defer h.mu.Unlock()
	wall := time.Now() // our own: the clocks of collectors may differ by hours
	long, short := h.window.at(wall), h.recent.at(wall)
	sum, longest := uint64(0), uint64(0)
	for _, r := range received {
		ms := now - r.At.UnixMilli()
		if ms < 0 {
			h.negative++
			ms = 0
		}
		delay := uint64(ms)
		i := bucketOf(delay)
		long.counts[i]++
		short.counts[i]++
		sum += delay
		longest = max(longest, delay)
		bound := boundOf[i]
		if bound < len(bounds) && delay > bounds[bound] {
			bound++ // the bucket lies across the bound
		}
		t := h.totals[r.Region]
		t.counts[bound]++
		t.sum += delay
	}
	for _, s := range [...]*slot{long, short} {
		s.count += uint64(len(received))
		s.sum += sum
		s.max = max(s.max, longest)
	}
}

// at returns the slot of now, emptied when it was of an earlier round.
func (r *ring) at(now time.Time) *slot {
	number := now.UnixNano() / int64(r.span)
	s := &r.slots[number%slots]
	if s.number != number {
		*s = slot{number: number}
	}
	return s
}

// Summary describes the delays of a window.
type Summary struct {
	Count         uint64
	Average, Max  time.Duration // exact
	P50, P99      time.Duration // at most 1/64 off, never above Max
	NegativeTotal uint64        // records from the future, since the start
}

// Summary reads the last Window.
func (h *Histogram) Summary() Summary { return h.summary(&h.window) }

// Recent reads the last RecentWindow.
func (h *Histogram) Recent() Summary { return h.summary(&h.recent) }

func (h *Histogram) summary(of *ring) Summary {
	h.mu.Lock()
	defer h.mu.Unlock()
	oldest := time.Now().UnixNano()/int64(of.span) - slots
	var all slot
	for i := range of.slots {
		s := &of.slots[i]
		if s.number <= oldest {
			continue
		}
		for bucket, n := range s.counts {
			all.counts[bucket] += n
		}
		all.count += s.count
		all.sum += s.sum
		all.max = max(all.max, s.max)
	}
	result := Summary{Count: all.count, NegativeTotal: h.negative}
	if all.count > 0 {
		result.Average = time.Duration(all.sum) * time.Millisecond / time.Duration(all.count)
		result.Max = time.Duration(all.max) * time.Millisecond
		result.P50 = all.quantile(50)
		result.P99 = all.quantile(99)
	}
	return result
}

// quantile returns the least delay that percent of the records do not exceed.
func (s *slot) quantile(percent uint64) time.Duration {
	rank := (s.count*percent + 99) / 100 // rounded up: of one record, the first
	for bucket, n := range s.counts {
		if rank <= uint64(n) {
			return min(middle(bucket), time.Duration(s.max)*time.Millisecond)
		}
		rank -= uint64(n)
	}
	return time.Duration(s.max) * time.Millisecond
}

var (
	descDelay = prometheus.NewDesc("millrace_delay_seconds",
		"Time from received_at, the receipt by the collector, to the answer of Elasticsearch, of every record.", nil, nil)
	descRegion = prometheus.NewDesc("millrace_region_delay_seconds",
		"millrace_delay_seconds by the region of the collector. A series begins with the first records of its region, which no rate sees: alert on the other.", []string{"region"}, nil)
	descNegative = prometheus.NewDesc("millrace_delay_negative_total",
		"Records received, by the collector's clock, after they were indexed: clocks differ.", nil, nil)
)

// Describe implements prometheus.Collector.
func (h *Histogram) Describe(to chan<- *prometheus.Desc) {
	to <- descDelay
	to <- descRegion
	to <- descNegative
}

// Collect implements prometheus.Collector.
func (h *Histogram) Collect(to chan<- prometheus.Metric) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all totals
	for _, t := range h.totals {
		all.add(t)
		if t.count() > 0 {
			to <- t.metric(descRegion, t.region)
		}
	}
	to <- all.metric(descDelay)
	to <- prometheus.MustNewConstMetric(descNegative, prometheus.CounterValue, float64(h.negative))
}
