package redrive

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// putRate bounds the records a second that are put into the stream, once the
// stream has throttled: to a little less than it has taken then, and from there
// a little more every second, until it bounds nothing. It is safe for
// concurrent use.
type putRate struct {
	limiter *rate.Limiter

	mu      sync.Mutex
	changed time.Time // when the bound was changed last
	since   time.Time // the present window began
	records int       // taken in it
	rate    float64   // records a second, in the window before
}

const (
	leastRate = 50.0   // records a second: the stream is tried at the least
	mostRate  = 50_000 // beyond it there is no bound
	rateEase  = 0.8    // of what the stream took when it throttled
	rateGrow  = 0.1    // of the bound, a second
	// rateWindow is the time over which is counted what the stream takes, and
	// the least from one easing to the next: calls that were throttled together
	// count once.
	rateWindow = time.Second

	// mostPortion is the most records that take one turn: a PutRecords call.
	mostPortion, leastPortion = 500, 10
)

func newPutRate() *putRate {
	return &putRate{limiter: rate.NewLimiter(rate.Inf, mostPortion), since: time.Now()}
}

// portion is how many records should take one turn: so few that a turn comes
// about every second.
func (p *putRate) portion() int {
	limit := p.limiter.Limit()
	if limit >= mostPortion {
		return mostPortion
	}
	return max(leastPortion, int(limit))
}

// wait waits for the turn of a portion.
func (p *putRate) wait(ctx context.Context, records int) error { return p.limiter.WaitN(ctx, records) }

// report says how many records of a portion the stream took, and whether it
// throttled others.
func (p *putRate) report(taken int, throttled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.records += taken
	if passed := now.Sub(p.since); passed >= rateWindow {
		p.rate, p.records, p.since = float64(p.records)/passed.Seconds(), 0, now
	}
	passed := min(now.Sub(p.changed), rateWindow)
	limit := p.limiter.Limit()
	switch {
	case throttled && passed == rateWindow:
		p.set(now, max(leastRate, rateEase*rate.Limit(max(p.rate, float64(p.records)))))
	case !throttled && limit != rate.Inf:
		p.set(now, limit*rate.Limit(1+rateGrow*passed.Seconds()))
	}
}

func (p *putRate) set(now time.Time, limit rate.Limit) {
	if limit > mostRate {
		limit = rate.Inf
	}
	p.limiter.SetLimit(limit)
	p.changed = now
	redrivePace.Set(p.bound())
}

// bound returns the records a second that are let through; zero for no bound.
func (p *putRate) bound() float64 {
	if p.limiter.Limit() == rate.Inf {
		return 0
	}
	return float64(p.limiter.Limit())
}
