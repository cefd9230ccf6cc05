package activities

import (
	"context"
	"errors"

	"millrace/internal/delay"
	"millrace/internal/index"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// direct writes records into the index. What is refused stays with its new
// error, and stands in nobody's way.
func (c *reprocessing) direct(spots []spot) error {
	s := newSettler(c.work, c.Processor.past(), "")
	defer s.abandon()
	s.priority = index.Recovery
	defer context.AfterFunc(c.going, func() { s.stop(context.Cause(c.going)) })()
	c.bulk.set(s)
	defer c.bulk.set(nil)
	records := make([]stream.Record, len(spots))
	for n, of := range spots {
		records[n] = stream.Record{Sequence: of.record().Sequence, Data: of.record().Data}
	}
	verdicts := map[int]index.Error{}
	counts, err := s.judge(records, 0, verdicts)
	if err != nil {
		return errStopped
	}
	for n, of := range spots {
		if cause, bad := verdicts[n]; bad {
			c.refuse(of, exact(cause))
			continue
		}
		c.progress.Counts.Records++
		of.end(indexedNow)
	}
	good := int64(len(spots) - len(verdicts))
	// Those that a part of a bisected bulk met again were indexed by this, too.
	already := min(counts.Duplicates, good)
	c.progress.Counts.Indexed += good - already
	c.progress.Counts.Already += already
	return nil
}

// judge indexes records, and enters those that are not, by position from base
// on, with the reason. Of what cannot be attributed to one of them it tries both
// halves.
func (s *settler) judge(records []stream.Record, base int, verdicts map[int]index.Error) (counts Counts, err error) {
	place, err := s.Limiter.Acquire(s.going, s.priority)
	if err != nil {
		return counts, errStopped
	}
	c := &chunk{records: records}
	if err := s.indexChunk(c, place); errors.Is(err, errStopped) {
		return counts, err
	} else if err != nil { // a panic
		c.blameAll(err)
	}
	counts = c.counts
	whole := c.notAttributable()
	for _, of := range [][]verdict{c.dead, c.open} {
		for _, v := range of {
			if !v.whole {
				verdicts[base+v.at] = v.cause
			}
		}
	}
	if len(whole) == 0 {
		return counts, nil
	}
	from, to := whole[0].at, whole[len(whole)-1].at+1
	for at := from; at < to; at++ {
		delete(verdicts, base+at)
	}
	middle := from + (to-from)/2
	for _, part := range [][2]int{{from, middle}, {middle, to}} {
		more, err := s.judge(records[part[0]:part[1]], base+part[0], verdicts)
		counts.Add(more)
		if err != nil {
			return counts, err
		}
	}
	return counts, nil
}

// past is a processor that asks no cache, which may know of documents that
// somebody has deleted since, and counts no delay: these records are old.
func (p *Processor) past() *Processor {
	other := *p
	other.Seen, other.Delay = unseen{}, delay.New()
	return &other
}

// unseen has never seen anything.
type unseen struct{}

// Seen implements Seen.
func (unseen) Seen(telemetry.DocID) bool { return false }

// Mark implements Seen.
func (unseen) Mark(uint64, telemetry.DocID) {}

// Generation implements Seen.
func (unseen) Generation() uint64 { return 0 }

// Raise implements Seen.
func (unseen) Raise(uint64) {}
