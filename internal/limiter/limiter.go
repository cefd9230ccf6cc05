package limiter

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// Priority is the class of a request for the Limiter.
type Priority int

const (
	// Live is telemetry on its straight way. It goes first.
	Live Priority = iota
	// Yielding is telemetry on its straight way that other telemetry would wait
	// for. It takes at most a quarter of the places.
	Yielding
	// Recovery is what can wait: backfill and replay. It takes what live
	// traffic leaves, and always leaves it one place.
	Recovery
	priorities
)

// String names the priority in metrics.
func (p Priority) String() string { return [...]string{"live", "yielding", "recovery"}[p] }

// Feedback is what the Limiter learns from one request.
type Feedback struct {
	Verdict Verdict
	Took    time.Duration
	Bytes   int // of the bulk
	// TimedOutAgain: Overloaded, and the same body timed out before.
	TimedOutAgain bool
}

// Verdict is what a request says about the server's load.
type Verdict int

const (
	// Neutral says nothing: canceled, refused, or not sent at all.
	Neutral Verdict = iota
	// Fine says that the server kept up.
	Fine
	// Overloaded says that the server did not: 429, 5xx, timeout, no connection.
	Overloaded
	// Oversized says that the body was too large: 413.
	Oversized
)

const (
	// DefaultConcurrency is the most requests in flight that a worker grows to.
	DefaultConcurrency = 16
	// DefaultBulkBytes is the size that bulks grow to.
	DefaultBulkBytes = 5 << 20

	// startConcurrency is enough to keep a small server busy at once, also
	// while one of its requests waits for a merge, a flush or a collection of
	// garbage: some take a second then, and of two that was half of all.
	startConcurrency = 4

	// Concurrency grows while the smoothed latency is below growBelow times
	// its baseline, and shrinks above shrinkAbove, but never below
	// startConcurrency: by latency alone nothing comes to a halt.
	growBelow, shrinkAbove = 1.5, 3.0

	// leastTelling is the size in bytes from which the latency of a bulk says
	// something about the server. A smaller one takes what a sync of the disk
	// takes, and how many indices it touches decides how many: of many shards
	// that each send a few records, the quickest bulk would be the baseline,
	// and the others wait for a few places beside an idle server.
	leastTelling = 64 << 10

	// How fast smoothed latency and baseline follow each new latency.
	followLatency, followLower, followHigher = 1.0 / 4, 1.0 / 4, 1.0 / 500

	// The pause after a failure at a concurrency of one, doubled with each.
	shortestPause, longestPause = 100 * time.Millisecond, 5 * time.Second

	// smallestBulk is how far bulks can shrink, in bytes. A record alone may be
	// larger, and then goes alone.
	smallestBulk = 64 << 10

	// regrowth is how many full bulks it takes to forget a 413, and quickRegrowth
	// an overload: that may be over at once, with a backlog to catch up.
	regrowth, quickRegrowth = 256, 16

	// slowBulk is what no bulk should take: a shard that is to pause does not
	// wait for it any longer.
	slowBulk = 10 * time.Second
)

// Limiter decides how many requests are in flight, for all shards of a worker
// together: additive increase while all is well, multiplicative decrease when
// the server is overloaded (as TCP Reno does: RFC 5681), once for all requests
// that were under way together. It decides how large bulks are in the same way,
// once concurrency is at its least. It is safe for concurrent use.
type Limiter struct {
	max          float64
	maxBulkBytes int

	mu          sync.Mutex
	limit       float64
	inFlight    [priorities]int
	waiting     [priorities][]*permit
	epoch       uint64 // raised by each decrease
	fulls       uint64 // raised whenever the last place is taken
	latency     [latencyClasses]latency
	pause       time.Duration // the present one, zero while all is well
	pausedUntil time.Time
	takenBytes  int // what no 413 speaks against
	bulkBytes   int // up to that, what load allows
}

// permit is one request, from Acquire to release.
type permit struct {
	priority     Priority
	granted      chan struct{}
	epoch, fulls uint64 // right before it was granted
	released     bool
}

// New makes a limiter that allows at most concurrency requests at once,
// and bulks of at most bulkBytes; both may be zero for their defaults.
func New(concurrency, bulkBytes int) *Limiter {
	if concurrency <= 0 {
		concurrency = DefaultConcurrency
	}
	if bulkBytes <= 0 {
		bulkBytes = DefaultBulkBytes
	}
	l := &Limiter{
		max: float64(concurrency), limit: float64(min(concurrency, startConcurrency)),
		maxBulkBytes: bulkBytes, takenBytes: bulkBytes, bulkBytes: bulkBytes,
	}
	l.publish()
	return l
}

// Acquire waits for a place. The caller sends one request, and then calls
// release, once, with what came of it. The error is the context's.
func (l *Limiter) Acquire(ctx context.Context, priority Priority) (release func(Feedback), err error) {
	p := &permit{priority: priority, granted: make(chan struct{})}
	l.mu.Lock()
	l.waiting[priority] = append(l.waiting[priority], p)
	l.dispatch()
	l.mu.Unlock()
	select {
	case <-p.granted:
	case <-ctx.Done():
		l.giveUp(p)
		return nil, fmt.Errorf("wait for a place to send a bulk: %w", context.Cause(ctx))
	}
	return func(f Feedback) { l.release(p, f) }, nil
}

func (l *Limiter) giveUp(p *permit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := slices.Index(l.waiting[p.priority], p); at >= 0 {
		l.waiting[p.priority] = slices.Delete(l.waiting[p.priority], at, at+1)
	} else { // granted at the same moment
		l.inFlight[p.priority]--
	}
	l.dispatch()
}

func (l *Limiter) release(p *permit, f Feedback) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.released {
		return
	}
	p.released = true
	l.inFlight[p.priority]--
	switch f.Verdict {
	case Fine:
		l.fine(p, f)
	case Overloaded:
		l.overloaded(p, f)
	case Oversized:
		l.takenBytes = min(l.takenBytes, max(f.Bytes/2, smallestBulk))
		l.bulkBytes = min(l.bulkBytes, l.takenBytes)
	}
	l.dispatch()
}

func (l *Limiter) fine(p *permit, f Feedback) {
	l.pause, l.pausedUntil = 0, time.Time{}
	if f.Took > slowBulk { // that is never normal
		if l.limit > startConcurrency {
			l.shrinkConcurrency()
		} else {
			l.shrinkBulks(f)
		}
		return
	}
	if f.Bytes > l.takenBytes*3/4 {
		l.takenBytes = min(l.takenBytes+l.maxBulkBytes/regrowth, l.maxBulkBytes)
	}
	if f.Bytes > l.bulkBytes*3/4 {
		l.bulkBytes = min(l.bulkBytes+l.maxBulkBytes/quickRegrowth, l.takenBytes)
	}
	ratio := 1.0
	if f.Bytes >= leastTelling {
		ratio = l.latency[latencyClass(f.Bytes)].observe(f.Took)
	}
	// A limit that is not reached says nothing. Below the one that all began with, what was sent since the last decrease says
	// that an overload is over: a light load would never reach it, and a heavy one that comes later would find few places.
	tells := l.fulls > p.fulls || l.limit < startConcurrency && p.epoch == l.epoch
	switch {
	case ratio < growBelow && tells:
		l.limit = min(l.limit+1/l.limit, l.max)
	case ratio > shrinkAbove && l.limit > startConcurrency:
		l.shrinkConcurrency()
	}
}

// shrinkConcurrency follows the latency.
func (l *Limiter) shrinkConcurrency() { l.limit = max(l.limit-1/l.limit, startConcurrency) }

// shrinkBulks makes bulks half as large as one that took too long. Those that
// were under way together halve them once; a small one says nothing.
func (l *Limiter) shrinkBulks(f Feedback) {
	if f.Bytes > l.bulkBytes/2 {
		l.bulkBytes = min(l.bulkBytes, max(f.Bytes/2, smallestBulk))
	}
}

func (l *Limiter) overloaded(p *permit, f Feedback) {
	if f.TimedOutAgain {
		l.shrinkBulks(f)
	}
	// A whole round trip fails together: what was under way at the last
	// decrease has been paid for.
	if p.epoch != l.epoch {
		return
	}
	l.epoch++
	if l.limit > 1 {
		l.limit = max(l.limit/2, 1)
		return
	}
	l.bulkBytes = min(l.bulkBytes, max(l.bulkBytes/2, smallestBulk))
	l.pause = min(max(2*l.pause, shortestPause), longestPause)
	// Half of it at random, so that workers do not come back together.
	wait := l.pause/2 + rand.N(l.pause/2)
	l.pausedUntil = time.Now().Add(wait)
	time.AfterFunc(wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.dispatch()
	})
}

// dispatch grants what there is room for.
func (l *Limiter) dispatch() {
	defer l.publish()
	if time.Now().Before(l.pausedUntil) {
		return
	}
	for {
		busy, room := sum(l.inFlight), int(l.limit)
		next, ok := l.next(room)
		if busy >= room || !ok {
			return
		}
		p := l.waiting[next][0]
		l.waiting[next] = slices.Delete(l.waiting[next], 0, 1)
		l.inFlight[next]++
		p.epoch, p.fulls = l.epoch, l.fulls
		if busy+1 == room || next == Yielding && l.inFlight[next] == mostYielding(room) {
			l.fulls++
		}
		close(p.granted)
	}
}

// next is who may take a place that is free, of so many. While there is but one,
// the first to come takes it.
func (l *Limiter) next(room int) (p Priority, ok bool) {
	yielding := l.inFlight[Yielding]
	switch {
	case len(l.waiting[Live]) > 0:
		return Live, true
	case len(l.waiting[Yielding]) > 0 && yielding < mostYielding(room):
		return Yielding, true
	case len(l.waiting[Recovery]) > 0 && yielding+l.inFlight[Recovery] < max(room-1, 1):
		return Recovery, true
	}
	return 0, false
}

// mostYielding is how many of the places Yielding may have.
func mostYielding(room int) int { return max(room/4, 1) }

func sum(of [priorities]int) (n int) {
	for _, in := range of {
		n += in
	}
	return n
}

// State is what a Limiter allows now.
type State struct {
	Limit     int // requests at once
	InFlight  int
	Waiting   int
	Paused    time.Duration // until the next request may go
	BulkBytes int           // the largest bulk to build
}

// State reads the present values.
func (l *Limiter) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	return State{
		Limit:     int(l.limit),
		InFlight:  sum(l.inFlight),
		Waiting:   len(l.waiting[Live]) + len(l.waiting[Yielding]) + len(l.waiting[Recovery]),
		Paused:    max(time.Until(l.pausedUntil), 0),
		BulkBytes: l.bulkBytes,
	}
}

func (l *Limiter) publish() {
	concurrencyLimit.Set(l.limit)
	bulkBytesLimit.Set(float64(l.bulkBytes))
	for p := range priorities {
		requestsInFlight[p].Set(float64(l.inFlight[p]))
		requestsWaiting[p].Set(float64(len(l.waiting[p])))
	}
}

// latency compares requests of about the same size: what is normal, and what
// is now. The baseline follows a faster server at once, and a slower one over
// hundreds of requests: an index grows, a cluster shrinks.
type latency struct{ now, baseline float64 }

// latencyClasses are sizes by powers of two, from leastTelling to 4 MiB and
// more.
const latencyClasses = 7

func latencyClass(bytes int) int { return min(bits.Len(uint(bytes)/leastTelling)-1, latencyClasses-1) }

// observe returns the present latency as a multiple of its baseline.
func (c *latency) observe(took time.Duration) float64 {
	seconds := max(took.Seconds(), 1e-3) // below a millisecond all is noise
	if c.baseline == 0 {
		c.now, c.baseline = seconds, seconds
	}
	c.now += (seconds - c.now) * followLatency
	if seconds < c.baseline {
		c.baseline += (seconds - c.baseline) * followLower
	} else {
		c.baseline += (seconds - c.baseline) * followHigher
	}
	return c.now / c.baseline
}
