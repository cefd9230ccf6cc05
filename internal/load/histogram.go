package load

import (
	"math"
	"sync"
	"time"
)

// stepsPerOctave of a Histogram: quantiles are right to 1.1 %.
const stepsPerOctave = 32

// Histogram counts durations in buckets that grow by a 32nd of an octave from
// one microsecond to three days. It is safe for concurrent use; the zero
// value is empty.
type Histogram struct {
	mu       sync.Mutex
	buckets  [38 * stepsPerOctave]uint64
	count    uint64
	sum, max time.Duration
}

// Add counts a duration. A negative one, of two clocks that differ, is 0.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	bucket := 0
	if us := float64(d) / float64(time.Microsecond); us > 1 {
		bucket = min(int(math.Log2(us)*stepsPerOctave)+1, len(h.buckets)-1)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.buckets[bucket]++
	h.count++
	h.sum += d
	h.max = max(h.max, d)
}

// Count returns how many durations were counted.
func (h *Histogram) Count() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.count
}

// Average returns the exact mean, 0 if there is none.
func (h *Histogram) Average() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count == 0 {
		return 0
	}
	return h.sum / time.Duration(h.count)
}

// Max returns the longest duration.
func (h *Histogram) Max() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.max
}

// Quantile returns the duration that a share q of all does not exceed, 0 if
// there is none.
func (h *Histogram) Quantile(q float64) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	rank := uint64(math.Ceil(q * float64(h.count)))
	for i, n := range h.buckets {
		if n >= rank && rank > 0 {
			middle := math.Exp2((float64(i) - 0.5) / stepsPerOctave)
			return min(time.Duration(middle*float64(time.Microsecond)), h.max)
		}
		rank -= min(n, rank)
	}
	return 0
}
