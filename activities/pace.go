package activities

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// pace bounds the records a second that are put into the stream, once the
// stream has throttled: it halves then, and grows again by a little at a time
// until it bounds nothing. It is safe for concurrent use.
type pace struct {
	limiter *rate.Limiter

	mu      sync.Mutex
	eased   time.Time // when it was halved last
	since   time.Time // the present second began
	records int       // taken in it
	rate    float64   // records a second, in the last one
}

const (
	leastPace = 50.0   // records a second: the stream is tried at the least
	mostPace  = 50_000 // beyond it there is no bound
	paceStep  = 1.05   // growth with each call that the stream takes as a whole

	// easeEvery is the least time from one halving to the next, so that several
	// calls that were throttled together count once.
	easeEvery = time.Second
	paceBurst = 10_000 // records: what one call may have
)

func newPace() *pace {
	return &pace{limiter: rate.NewLimiter(rate.Inf, paceBurst), since: time.Now()}
}

// wait waits for the turn of some records. The caller reports how many of them
// were taken, and whether the stream throttled.
func (p *pace) wait(ctx context.Context, records int) (report func(taken int, throttled bool), err error) {
	for rest := records; rest > 0; rest -= paceBurst {
		if err := p.limiter.WaitN(ctx, min(rest, paceBurst)); err != nil {
			return nil, err
		}
	}
	return p.report, nil
}

func (p *pace) report(taken int, throttled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.records += taken
	if passed := now.Sub(p.since).Seconds(); passed >= 1 {
		p.rate, p.records, p.since = float64(p.records)/passed, 0, now
	}
	limit := float64(p.limiter.Limit())
	bounded := p.limiter.Limit() != rate.Inf
	switch {
	case throttled && now.Sub(p.eased) >= easeEvery:
		p.eased = now
		if !bounded {
			limit = max(p.rate, float64(p.records), 2*leastPace)
		}
		p.limiter.SetLimit(rate.Limit(max(leastPace, limit/2)))
	case !throttled && bounded && limit*paceStep > mostPace:
		p.limiter.SetLimit(rate.Inf)
	case !throttled && bounded:
		p.limiter.SetLimit(rate.Limit(limit * paceStep))
	}
	redrivePace.Set(p.current())
}

// bound returns the records a second that are let through; zero for no bound.
func (p *pace) bound() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.current()
}

func (p *pace) current() float64 {
	if p.limiter.Limit() == rate.Inf {
		return 0
	}
	return float64(p.limiter.Limit())
}
