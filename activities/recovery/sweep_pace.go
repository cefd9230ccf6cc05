package recovery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"millrace/activities/process"
	"millrace/internal/backoff"
	"millrace/internal/delay"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
)

// YieldPolicy is how a sweep gives way to live traffic, while no rate is given: by
// the time in which it rests, and the size of its bulks, since a live record
// waits at the most for the one that is being worked on.
//
// Its share grows a little every second while live records take about as long
// as is normal, and is halved when they take much longer (additive increase,
// multiplicative decrease). Normal is what was seen before the recovery paused
// the shards, and what is seen while the sweep does as little as it can.
type YieldPolicy struct {
	Share  float64 `json:"share,omitempty"`         // of the time, in which it works
	Normal float64 `json:"normalSeconds,omitempty"` // p99 of the live delay without it
	Live   float64 `json:"liveSeconds,omitempty"`   // at present; zero: there is no live traffic
	Record float64 `json:"recordSeconds,omitempty"` // that it takes to index one of its own records
	Look   float64 `json:"lookSeconds,omitempty"`   // that it takes to look one up
	Worked float64 `json:"workedSeconds,omitempty"` // for which it has not rested yet

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

	// bulkShare is how long a bulk or a look-up may take, of what is normal for a
	// live record; followRecord how fast follows how long one of its own takes.
	bulkShare, followRecord = 0.2, 1.0 / 4

	// lookLive is how often is looked how live traffic does, shardsAsked of how
	// many shards at a time: each knows of all on its worker.
	lookLive    = time.Second
	shardsAsked = 8

	// Of a worker that has indexed nothing lately: no live record waits while its shards
	// are not this far behind, which a consumer with fan-out may be for a moment,
	// and one does for certain when they are that far behind.
	idleLag, stalledLag = 2 * time.Second, delay.RecentWindow + 2*time.Second

	// seenFor is how long a delay is seen: in the window of a worker, and then in its
	// last heartbeat.
	seenFor = delay.RecentWindow + longcall.HeartbeatEvery

	// yieldRecords are those of a bulk at a share of one, leastRecords of the
	// smallest.
	yieldRecords, leastRecords = sweepRecords, 20
)

// from fills in where the first call begins.
func (p YieldPolicy) from(plan Plan) YieldPolicy {
	if p.Share == 0 {
		p.Share, p.Normal = leastShare, plan.Normal
	}
	return p
}

// liveTraffic is how long live records take, of the worker where they take
// longest.
type liveTraffic struct {
	process.LiveDelay
	Stalled float64 // seconds that a shard is behind whose worker has indexed nothing lately
	Silent  bool    // of some shard it is not known whether live records wait
}

// learn takes in how live traffic does.
func (p *YieldPolicy) learn(live liveTraffic, now time.Time) {
	if live.Records == 0 && live.Stalled == 0 {
		if live.Silent { // if no worker indexes these shards, it is not to wait for ever
			p.Share = min(1, p.Share+growShare)
			return
		}
		p.Live, p.Share = 0, min(1, p.Share*growAlone) // no live record waits
		return
	}
	p.Live = max(live.Seconds, live.Stalled)
	seen := max(p.Live, leastNormal)
	switch {
	case p.Normal == 0 && live.Stalled > 0: // the normal delay is still to be seen
		p.Normal = leastNormal
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
	case seen > cutAbove*p.Normal && now.Sub(p.cut) > seenFor:
		p.Share, p.cut = max(leastShare, p.Share/2), now
	}
}

// rested takes in for how long Elasticsearch was left alone, and returns for how
// much longer it is to be, by the present share.
func (p *YieldPolicy) rested(alone time.Duration) (left time.Duration) {
	each := 1/p.Share - 1 // seconds of rest for one of work
	if p.Worked*each <= alone.Seconds() {
		p.Worked = 0
		return 0
	}
	p.Worked -= alone.Seconds() / each
	return time.Duration(p.Worked * each * float64(time.Second))
}

// follow brings an estimate of what one record takes closer to what was seen.
func follow(each *float64, took time.Duration, records int) {
	seen := took.Seconds() / float64(records)
	if *each == 0 {
		*each = seen
	}
	*each += (seen - *each) * followRecord
}

// records is how many a bulk has: while live records wait, so many that it
// takes a part of what is normal for a live record, whether it is looked up or
// has to be indexed then.
func (p YieldPolicy) records() int {
	n := p.Share * yieldRecords
	if each := max(p.Record, p.Look); p.Live > 0 && each > 0 {
		n = min(n, bulkShare*p.Normal/each)
	}
	return max(leastRecords, int(n))
}

// Text says in words how a sweep gives way.
func (p YieldPolicy) Text() string {
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
		for going := true; going; going = backoff.Sleep(s.call.Going, lookLive) {
			live, err := s.sweeper.liveDelay(s.call.Going)
			if err != nil { // it goes on as before; what it does may be the reason
				continue
			}
			s.mu.Lock()
			s.done.Pace.learn(live, time.Now())
			s.mu.Unlock()
		}
	}()
	return func() {
		s.call.Stop(longcall.ErrStopped)
		<-ended
	}
}

// liveDelay asks how long live records take, of the worker where they take
// longest.
func (s *Sweeper) liveDelay(ctx context.Context) (worst liveTraffic, err error) {
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
		said, running, err := s.Workflows.Live(ctx, s.Stream, shards[at].ID)
		if err != nil {
			return worst, err
		}
		if running {
			worst.add(said)
		}
	}
	return worst, nil
}

// add takes in what a shard has said of itself and its worker.
func (l *liveTraffic) add(said process.Progress) {
	behind := time.Duration(said.LagSeconds * float64(time.Second))
	switch {
	case said.Worker == "": // it is between two calls
		l.Silent = true
	case said.Live.Records > 0:
		if said.Live.Seconds >= l.Seconds {
			l.LiveDelay = said.Live
		}
	case behind > stalledLag:
		l.Stalled = max(l.Stalled, said.LagSeconds)
	case behind > idleLag:
		l.Silent = true
	}
}

// rest leaves Elasticsearch alone for as long as the sweep has to by its share,
// which may change meanwhile; false if the sweep was stopped.
func (s *sweep) rest() bool {
	if s.pace != nil {
		return true
	}
	rested := func(alone time.Duration) time.Duration {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.done.Pace.rested(alone)
	}
	left, going := rested(0), true
	for left > 0 && going {
		began := time.Now()
		going = backoff.Sleep(s.call.Going, min(left, lookLive))
		left = rested(time.Since(began))
	}
	return going
}

// worked takes in that Elasticsearch, or the stream, has worked for the sweep;
// each, where it is known for how many records, is what it learns of one.
func (s *sweep) worked(took time.Duration, each *float64, records int) {
	if s.pace != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done.Pace.Worked += took.Seconds()
	if records > 0 {
		follow(each, took, records)
	}
}

// timed is Elasticsearch, by a clock that runs while it works for a sweep: not
// while that waits for a place, or to try again.
type timed struct {
	SweptDocuments
	sweep *sweep
}

// Do implements sink.Bulker.
func (t *timed) Do(ctx context.Context, b *sink.Bulk) sink.Result {
	began, records := time.Now(), b.Len()
	result := t.SweptDocuments.Do(ctx, b)
	if result.Class != outcome.Indexed {
		records = 0
	}
	t.sweep.worked(time.Since(began), &t.sweep.done.Pace.Record, records)
	return result
}

// Find implements Lookup.
func (t *timed) Find(ctx context.Context, documents []sink.Reference) ([]sink.Found, error) {
	began := time.Now()
	found, err := t.SweptDocuments.Find(ctx, documents)
	t.looked(began, len(documents), err)
	return found, err
}

// looked counts a look at documents.
func (t *timed) looked(began time.Time, documents int, err error) {
	if err != nil {
		documents = 0
	}
	t.sweep.worked(time.Since(began), &t.sweep.done.Pace.Look, documents)
}
