package delay

import (
	"math/bits"
	"time"
)

// The window's buckets: one for each millisecond at first, and from there on
// 32 for each power of two, as in an HDR histogram. Any bucket is at most 1/32
// of its value wide.
const (
	subBits = 5
	subs    = 1 << subBits
	// largest is the first delay in milliseconds that is too long to be told
	// apart: 49 days, past any stream's retention but the longest.
	largest = 1 << 32
	buckets = (32-subBits)*subs + subs
)

// bucketOf returns the bucket of a delay in milliseconds.
func bucketOf(ms uint64) int {
	if ms >= largest {
		return buckets - 1
	}
	if ms < subs {
		return int(ms)
	}
	shift := bits.Len64(ms) - subBits - 1
	return shift*subs + int(ms>>shift)
}

// lowest returns the least delay in milliseconds that falls into a bucket.
func lowest(bucket int) uint64 {
	if bucket < subs {
		return uint64(bucket)
	}
	shift := bucket/subs - 1
	return uint64(bucket%subs+subs) << shift
}

// middle returns the delay that stands for all of a bucket.
func middle(bucket int) time.Duration {
	return time.Duration(lowest(bucket)+lowest(bucket+1)-1) * time.Millisecond / 2
}

// bounds are Prometheus's buckets, in milliseconds: from what the fastest path
// takes to where an outage begins.
var bounds = [...]uint64{
	5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000,
	60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000,
}

// boundOf gives for the least delay of each bucket the bound that it is under.
// No bucket is wide enough to lie across two of them.
var boundOf = func() (of [buckets]int) {
	for bucket := range of {
		for of[bucket] < len(bounds) && lowest(bucket) > bounds[of[bucket]] {
			of[bucket]++
		}
	}
	return of
}()
