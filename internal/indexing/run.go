package indexing

import (
	"errors"
	"slices"
	"time"

	"millrace/internal/backoff"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
)

const (
	// bodyTimeouts is how many timeouts in a row of one body mean that it is
	// too much together.
	bodyTimeouts = 2
	// LeastSplit is the size in bytes below which a body that times out is not
	// split any further: then it is the server, not the body.
	LeastSplit = 64 << 10
)

// What a run may have to wait for, as operators read it.
const (
	sending     = "index"
	lookingBack = "look for documents of earlier posts"
)

// Run indexes the records of one call. It is safe for concurrent use, with a Chunk
// for each goroutine.
type Run struct {
	indexer  *Indexer
	call     *longcall.Call
	shard    string // that the records are of, for logs
	priority limiter.Priority
	// parker is nil where a record waits for its index, however long that takes.
	parker *parker
}

// Begin begins a run in a call. shard is for logs, priority that of its bulks at the
// least.
func (x *Indexer) Begin(call *longcall.Call, shard string, priority limiter.Priority) *Run {
	return &Run{indexer: x, call: call, shard: shard, priority: priority}
}

// Index sends a chunk until each of its records has an outcome. Whatever is refused
// as a whole, and may not be each record's own fault, is left open. After a panic the
// whole chunk is. It fails only when the call was stopped before that: then Stopped
// lists those without an outcome.
func (s *Run) Index(c *Chunk, place func(limiter.Feedback)) error {
	err := s.attempt(c, place)
	if err == nil || errors.Is(err, longcall.ErrStopped) {
		return err
	}
	c.Blame(err) // a panic
	return nil
}

// Place waits for a place in the sink, to be given to Index, for a chunk of a priority.
func (s *Run) Place(priority limiter.Priority) (place func(limiter.Feedback), err error) {
	return s.indexer.Limiter.Acquire(s.call.Going, max(s.priority, priority))
}

// attempt is Index; its error may be a panic.
func (s *Run) attempt(c *Chunk, place func(limiter.Feedback)) (err error) {
	defer longcall.CatchPanic(&err)
	defer func() { place(limiter.Feedback{}) }() // counts where nothing was sent: only the first release does
	c.sort(s.indexer, time.Now())
	flight, others := s.indexer.flights.enter(c)
	defer s.indexer.flights.leave(flight)
	if len(others) > 0 {
		place, err = s.await(c, others, place)
	}
	if err == nil {
		err = s.sendNew(c, place)
	}
	s.compare(c)
	if err == nil {
		s.call.Stall.Clear(sending)
	}
	return err
}

// sendNew sends what may not be indexed yet.
func (s *Run) sendNew(c *Chunk, place func(limiter.Feedback)) error {
	if err := s.skipResent(c); err != nil || len(c.at) == 0 {
		return err
	}
	return s.send(c, c.at, place)
}

// send sends the bulk of a chunk, which holds the records at these positions,
// again and again, smaller and smaller, until each has an outcome.
func (s *Run) send(c *Chunk, at []int, place func(limiter.Feedback)) error {
	timeouts, again := 0, false
	for wait := longcall.FirstWait; ; wait = min(2*wait, longcall.LongestWait) {
		generation := s.indexer.Seen.Generation()
		result := s.sendOnce(c, place, timeouts)
		if timeouts++; !result.TimedOut {
			timeouts = 0
		}
		switch {
		case result.Class == outcome.Indexed:
			s.indexer.known.answered(c.bulk.Indices())
			at = s.outcomes(c, at, result.Items, generation, again)
			again = true
		case result.Class == outcome.TooLarge && len(at) > 1,
			timeouts >= bodyTimeouts && c.bulk.Size() > LeastSplit && len(at) > 1:
			return s.sendHalves(c, at)
		case result.Class == outcome.Transient:
			s.call.Stall.Set(sending, result.Error.Failure())
			if len(at) > 1 && c.bulk.Size() >= 2*s.indexer.Limiter.State().BulkBytes { // bulks have shrunk since it was built
				return s.sendHalves(c, at)
			}
		default: // not attributable, or one record that alone is too large
			for _, i := range at {
				c.Open = append(c.Open, Verdict{i, result.Error, len(at) > 1})
			}
			at = nil
		}
		if len(at) == 0 {
			return nil
		}
		if !backoff.Wait(s.call.Going, wait) {
			c.Stopped = append(c.Stopped, at...)
			return longcall.ErrStopped
		}
		var err error
		if place, err = s.refill(c, at); err != nil {
			return err
		}
	}
}

// sendOnce sends the bulk, which has timed out so often in a row, and gives its
// place back.
func (s *Run) sendOnce(c *Chunk, place func(limiter.Feedback), timeouts int) (result sink.Result) {
	result.Class = outcome.Refused // what a panic leaves behind
	defer func() {
		feedback := result.Feedback()
		feedback.TimedOutAgain = result.TimedOut && timeouts+1 >= bodyTimeouts
		place(feedback)
	}()
	c.sent = time.Now()
	return s.indexer.Bulk.Do(s.call.Work, &c.bulk)
}

// refill waits for a place and builds the bulk anew, of these records alone.
func (s *Run) refill(c *Chunk, at []int) (place func(limiter.Feedback), err error) {
	if place, err = s.Place(c.Priority); err != nil {
		c.Stopped = append(c.Stopped, at...)
		return nil, longcall.ErrStopped
	}
	c.fill(at, time.Now())
	return place, nil
}

// sendHalves sends in two bulks what was too much for one. When the call is
// stopped, each half says itself what of it has no outcome.
func (s *Run) sendHalves(c *Chunk, at []int) error {
	first, second := c.halves(at)
	var stopped error
	for _, half := range [...][]int{first, second} {
		place, err := s.refill(c, half)
		if err == nil {
			err = s.send(c, half, place)
		}
		if err != nil {
			stopped = err
		}
	}
	return stopped
}

// outcomes enters what became of each record of a bulk that was answered, and
// returns the positions of those to be sent again, in the memory of at. before
// says that they were sent before.
func (s *Run) outcomes(c *Chunk, at []int, items []sink.Item, generation uint64, before bool) (again []int) {
	now, all, alone, traced := time.Now(), len(at), 0, c.traced
	again, c.received = at[:0], slices.Grow(c.received[:0], len(at))
	c.created, c.sums = slices.Grow(c.created[:0], len(at)), slices.Grow(c.sums[:0], len(at))
	for position, i := range at {
		item := sink.Item{Position: position}
		if len(items) > 0 && items[0].Position == position {
			item, items = items[0], items[1:]
		}
		switch item.Class {
		case outcome.Indexed:
			if s.indexer.outOfService.any.Load() {
				s.indexer.outOfService.took(c.Indices.Name(i))
			}
			if item.Duplicate {
				c.met = append(c.met, met{i, generation})
				continue
			}
			c.created, c.sums = append(c.created, c.ids[i]), append(c.sums, c.digests[i].Short())
			for len(traced) > 0 && traced[0] < i {
				traced = traced[1:]
			}
			if len(traced) > 0 && traced[0] == i {
				s.indexer.Tracer.Indexed(c.Records[i].Data, c.sent)
			}
			c.Counts.Indexed++
			if origin := c.origins[i]; !origin.At.IsZero() {
				c.received = append(c.received, origin)
			}
		case outcome.Poison:
			c.Dead = append(c.Dead, Verdict{At: i, Cause: item.Error})
		case outcome.Transient:
			if item.IndexAlone {
				alone++
			}
			if s.parker != nil && s.parker.parks(item, c.Indices.Name(i)) {
				c.Parked = append(c.Parked, Verdict{At: i, Cause: item.Error})
				continue
			}
			s.call.Stall.Set(sending, item.Error.Failure())
			again = append(again, i)
		default:
			c.Open = append(c.Open, Verdict{At: i, Cause: item.Error})
		}
	}
	s.indexer.Seen.MarkAll(generation, c.created, c.sums)
	if s.parker != nil && !before {
		s.parker.learn(all, alone)
	}
	s.indexer.Delay.ObserveBatch(now, c.received)
	return again
}
