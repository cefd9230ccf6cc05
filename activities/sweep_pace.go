package activities

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"millrace/internal/delay"
)

// Pace is how a sweep gives way to live traffic, while no rate is given: by
// the time in which it rests, and the size of its bulks, since a live record
// waits at the most for the one that is being worked on.
//
// Its share grows a little every second while live records take about as long
// as is normal, and is halved when they take much longer (additive increase,
// multiplicative decrease). Normal is what was seen before the recovery paused
// the shards, and what is seen while the sweep does as little as it can.
type Pace struct {
	Share  float64 `json:"share,omitempty"`         // of the time, in which it works
	Normal float64 `json:"normalSeconds,omitempty"` // p99 of the live delay without it
	Live   float64 `json:"liveSeconds,omitempty"`   // at present; zero: there is no live traffic
	Record float64 `json:"recordSeconds,omitempty"` // that one of its own records takes

	cut time.Time // when it was halved last
}

const (
	// leastShare is what it does in any case, and where it begins.
	leastShare = 0.01
	// It grows by growShare a look below growUnder times what is normal, and is
	// halved above cutAbove times: well before twice as long.
	growShare, growUnder, cutAbove = 0.01, 1.2, 1.5
	growAlone                      = 1.5 // a look, while there is no live traffic
	// leastNormal is in seconds: less than that is noise.
	leastNormal = 0.1
	// How fast what is normal falls with each look, and how fast it may rise
	// while the sweep does its least.
	followNormal, riseNormal = 1.0 / 4, 1.02

	// bulkShare is how long a bulk may take, of what is normal for a live record;
	// followRecord how fast follows how long one of its own records takes.
	bulkShare, followRecord = 0.2, 1.0 / 4

	// lookLive is how often is looked how live traffic does, shardsAsked of how
	// many shards at a time: each knows of all on its worker.
	lookLive    = time.Second
	shardsAsked = 8

	// yieldRecords are those of a bulk at a share of one, leastRecords of the
	// smallest.
	yieldRecords, leastRecords = sweepRecords, 20
)

// from fills in where the first call begins.
func (p Pace) from(plan Plan) Pace {
	if p.Share == 0 {
		p.Share, p.Normal = leastShare, plan.Normal
	}
	return p
}

// learn takes in how live traffic does.
func (p *Pace) learn(live LiveDelay, now time.Time) {
	if live.Records == 0 { // nobody waits
		p.Live, p.Share = 0, min(1, p.Share*growAlone)
		return
	}
	p.Live = live.Seconds
	seen := max(live.Seconds, leastNormal)
	switch {
	case p.Normal == 0:
		p.Normal = seen
	case seen < p.Normal:
		p.Normal += (seen - p.Normal) * followNormal
	case p.Share <= leastShare:
		p.Normal = min(seen, p.Normal*riseNormal)
	}
	switch {
	case seen < growUnder*p.Normal:
		p.Share = min(1, p.Share+growShare)
	// What was seen until then stays in the window for so long.
	case seen > cutAbove*p.Normal && now.Sub(p.cut) > delay.RecentWindow:
		p.Share, p.cut = max(leastShare, p.Share/2), now
	}
}

// rest is how long to leave Elasticsearch alone after so much work.
func (p Pace) rest(worked time.Duration) time.Duration {
	return time.Duration(float64(worked) * (1/p.Share - 1))
}

// worked takes in how long a bulk took.
func (p *Pace) worked(took time.Duration, records int) {
	each := took.Seconds() / float64(records)
	if p.Record == 0 {
		p.Record = each
	}
	p.Record += (each - p.Record) * followRecord
}

// records is how many a bulk has: while somebody waits for it, so many that it
// takes a part of what is normal for a live record.
func (p Pace) records() int {
	n := p.Share * yieldRecords
	if p.Live > 0 && p.Record > 0 {
		n = min(n, bulkShare*p.Normal/p.Record)
	}
	return max(leastRecords, int(n))
}

// Text says how a sweep gives way, for people.
func (p Pace) Text() string {
	text := fmt.Sprintf("works %.0f %% of the time", 100*p.Share)
	if p.Live == 0 {
		return text + "; there is no live traffic"
	}
	return text + fmt.Sprintf("; live records take %.2f s (p99), %.2f s are normal", p.Live, p.Normal)
}

// watchLive has the sweep give way, until it is told to stop.
func (s *sweep) watchLive() (stop func()) {
	if s.pace != nil {
		return func() {}
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for pause(s.going, lookLive) {
			live, err := s.liveDelay(s.going)
			if err != nil { // it goes on as before; what it does may be the reason
				continue
			}
			s.mu.Lock()
			s.done.Pace.learn(live, time.Now())
			s.mu.Unlock()
		}
	}()
	return func() {
		s.stop(errStopped)
		<-ended
	}
}

// liveDelay asks how long live records take, of the worker where they take
// longest.
func (s *Sweeper) liveDelay(ctx context.Context) (worst LiveDelay, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*lookLive)
	defer cancel()
	shards, err := s.Shards.Shards(ctx)
	if err != nil {
		return worst, err
	}
	for n, at := range rand.Perm(len(shards)) {
		if n == shardsAsked {
			break
		}
		live, running, err := s.Workflows.Live(ctx, s.Stream, shards[at].ID)
		if err != nil {
			return worst, err
		}
		if running && live.Records > 0 && live.Seconds >= worst.Seconds {
			worst = live
		}
	}
	return worst, nil
}
