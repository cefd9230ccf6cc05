package delay

import (
	"maps"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
)

// Received says when a collector received a record, and where that collector stands.
type Received struct {
	At     time.Time
	Region Region
}

// Region is the number that a Histogram has given to a region. The zero value is
// that of all regions without one of their own.
type Region uint8

const (
	// MaxRegions is how many regions a Histogram tells apart: each is a series for
	// every bound. AWS has fewer than 40.
	MaxRegions = 64
	// MaxRegionSize is the longest name of one, in bytes. AWS's have at most 14.
	MaxRegionSize = 64

	otherRegions = "other"
)

// Region returns the number of a region, of which name is as it stands in a record.
// It allocates nothing for one that it knows.
func (h *Histogram) Region(name []byte) Region {
	if known, ok := (*h.regions.Load())[string(name)]; ok {
		return known
	}
	return h.enter(string(name))
}

// enter gives a region a number. Whatever is no name, or one too many, is of the others.
func (h *Histogram) enter(name string) Region {
	if len(name) > MaxRegionSize || !utf8.ValidString(name) || name == otherRegions {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known := *h.regions.Load()
	if number, ok := known[name]; ok || len(known) == MaxRegions {
		return number
	}
	number := Region(len(h.totals))
	h.totals = append(h.totals, &totals{region: name})
	more := maps.Clone(known)
	more[name] = number
	h.regions.Store(&more)
	return number
}

// totals are the records of a region, since the start.
type totals struct {
	region string
	counts [len(bounds) + 1]uint64 // by bound, the last without one
	sum    uint64                  // in milliseconds
}

func (t *totals) count() (all uint64) {
	for _, n := range t.counts {
		all += n
	}
	return all
}

func (t *totals) add(other *totals) {
	for i, n := range other.counts {
		t.counts[i] += n
	}
	t.sum += other.sum
}

func (t *totals) metric(desc *prometheus.Desc, labels ...string) prometheus.Metric {
	cumulative := make(map[float64]uint64, len(bounds))
	count := uint64(0)
	for i, bound := range bounds {
		count += t.counts[i]
		cumulative[float64(bound)/1000] = count
	}
	return prometheus.MustNewConstHistogram(desc, t.count(), float64(t.sum)/1000, cumulative, labels...)
}
