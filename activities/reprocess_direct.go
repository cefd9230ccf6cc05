package activities

import (
	"context"

	"millrace/internal/delay"
	"millrace/internal/limiter"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// direct writes records into the index. What is refused stays with its new
// error, and delays no other record.
func (c *reprocessing) direct(spots []spot) error {
	s := newSettler(c.work, c.Processor.past(), "")
	defer s.abandon()
	s.priority = limiter.Recovery
	defer context.AfterFunc(c.going, func() { s.stop(context.Cause(c.going)) })()
	c.bulk.Set(s)
	defer c.bulk.Set(nil)
	records := make([]stream.Record, len(spots))
	for n, of := range spots {
		records[n] = stream.Record{Sequence: of.record().Sequence, Data: of.record().Data}
	}
	if c.in.Select.Parked != "" { // an index that is still out of service is not waited for
		s.parker = &parker{known: &outOfService{}}
	}
	all := &chunk{records: records}
	if err := s.indexAlone(all); err != nil {
		return err
	}
	refused := make([]bool, len(spots)) // or still parked
	for _, v := range all.parked {
		refused[v.at] = true
		c.progress.Stopped = stillOut
		c.problem.Set(draining, v.cause.Failure())
	}
	for _, v := range all.dead {
		refused[v.at] = true
		c.refuse(spots[v.at], v.cause)
	}
	for n, of := range spots {
		if !refused[n] {
			c.progress.Counts.Records++
			of.end(indexedNow)
		}
	}
	good := int64(len(spots) - len(all.dead) - len(all.parked))
	// Those that a part of a bisected bulk met again were indexed by this, too.
	already := min(all.counts.Earlier(), good)
	c.progress.Counts.Indexed += good - already
	c.progress.Counts.Already += already
	return nil
}

// past is a processor that asks no cache, which may know of documents that
// were deleted since, and counts no delay: these records are old.
func (p *Processor) past() *Processor {
	other := p.uncached()
	other.Delay = delay.New()
	return other
}

// unseen has never seen anything.
type unseen struct{}

// Seen implements Seen.
func (unseen) Seen(telemetry.DocID) (uint32, bool) { return 0, false }

// Mark implements Seen.
func (unseen) Mark(uint64, telemetry.DocID, uint32) {}

// Generation implements Seen.
func (unseen) Generation() uint64 { return 0 }

// Raise implements Seen.
func (unseen) Raise(uint64) {}
