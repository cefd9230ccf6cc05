package activities

import (
	"context"
	"errors"
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
	// leastSplit is the size in bytes below which a body that times out is not
	// split any further: then it is the server, not the body.
	leastSplit = 64 << 10
)

// settler takes chunks of one shard to their end.
type settler struct {
	*Processor
	shard    string
	priority limiter.Priority

	// going ends when nothing new is to be begun; work ends a little later,
	// when what is still under way is given up.
	going, work context.Context
	stop        context.CancelCauseFunc // ends going
	abandon     context.CancelFunc      // ends both

	problem longcall.Stall
	circuit circuit
	// parker is nil where a record waits for its index, however long that takes.
	parker *parker
	// graves tell what an earlier attempt has buried, where there may have been
	// one; else nil.
	graves *buried
}

func newSettler(ctx context.Context, p *Processor, shard string) *settler {
	work, abandon := context.WithCancel(context.WithoutCancel(ctx))
	going, stop := context.WithCancelCause(work)
	return &settler{Processor: p, shard: shard, going: going, work: work, stop: stop, abandon: abandon}
}

// settle ensures that each record of a chunk is durable somewhere: indexed,
// or in the ledger, or in a ProcessBatch; but for what is set aside of offenders,
// which a pool takes. It fails only when the pipeline was
// stopped before that; the mark then stays in front of the chunk.
func (s *settler) settle(c *chunk, place func(limiter.Feedback)) bool {
	err := s.indexChunk(c, place)
	if errors.Is(err, longcall.ErrStopped) {
		return false
	}
	if err != nil { // a panic
		c.blameAll(err)
	}
	if s.narrow(c) != nil {
		return false
	}
	if !s.circuit.passes(c) {
		s.stop(errTripped)
		return false
	}
	return s.bury(c) && (c.merging || s.handOver(c))
}

// indexChunk sends the chunk until each of its records has an outcome.
func (s *settler) indexChunk(c *chunk, place func(limiter.Feedback)) (err error) {
	defer longcall.CatchPanic(&err)
	defer place(limiter.Feedback{}) // counts where nothing was sent: only the first release does
	c.sort(s.Seen, time.Now())
	err = s.sendNew(c, place)
	s.compare(c)
	if err == nil {
		s.problem.Clear(indexing)
	}
	return err
}

// sendNew sends what may not be indexed yet.
func (s *settler) sendNew(c *chunk, place func(limiter.Feedback)) error {
	if err := s.skipEarlier(c); err != nil || len(c.at) == 0 {
		return err
	}
	return s.send(c, c.at, place)
}

// send sends the bulk of a chunk, which holds the records at these positions,
// again and again, smaller and smaller, until each has an outcome.
func (s *settler) send(c *chunk, at []int, place func(limiter.Feedback)) error {
	timeouts, again := 0, false
	for wait := longcall.FirstWait; ; wait = min(2*wait, longcall.LongestWait) {
		generation := s.Seen.Generation()
		result := s.sendOnce(c, place, timeouts)
		if timeouts++; !result.TimedOut {
			timeouts = 0
		}
		switch {
		case result.Class == outcome.Indexed:
			if s.known != nil {
				s.known.answered(c.bulk.Indices())
			}
			at = s.outcomes(c, at, result.Items, generation, again)
			again = true
		case result.Class == outcome.TooLarge && len(at) > 1,
			timeouts >= bodyTimeouts && c.bulk.Size() > leastSplit && len(at) > 1:
			return s.sendHalves(c, at)
		case result.Class == outcome.Transient:
			s.problem.Set(indexing, result.Error.Failure())
			if len(at) > 1 && c.bulk.Size() >= 2*s.Limiter.State().BulkBytes { // bulks have shrunk since it was built
				return s.sendHalves(c, at)
			}
		default: // not attributable, or one record that alone is too large
			for _, i := range at {
				c.open = append(c.open, verdict{i, result.Error, len(at) > 1})
			}
			at = nil
		}
		if len(at) == 0 {
			return nil
		}
		if !backoff.Wait(s.going, wait) {
			c.stopped = append(c.stopped, at...)
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
func (s *settler) sendOnce(c *chunk, place func(limiter.Feedback), timeouts int) (result sink.Result) {
	result.Class = outcome.Refused // what a panic leaves behind
	defer func() {
		feedback := result.Feedback()
		feedback.TimedOutAgain = result.TimedOut && timeouts+1 >= bodyTimeouts
		place(feedback)
	}()
	return s.Bulk.Do(s.work, &c.bulk)
}

// refill waits for a place and builds the bulk anew, of these records alone.
func (s *settler) refill(c *chunk, at []int) (place func(limiter.Feedback), err error) {
	if place, err = s.Limiter.Acquire(s.going, max(s.priority, c.priority)); err != nil {
		c.stopped = append(c.stopped, at...)
		return nil, longcall.ErrStopped
	}
	c.fill(at, time.Now())
	return place, nil
}

// sendHalves sends in two bulks what was too much for one. When the settler is
// stopped, each half says itself what of it has no outcome.
func (s *settler) sendHalves(c *chunk, at []int) error {
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
func (s *settler) outcomes(c *chunk, at []int, items []sink.Item, generation uint64, before bool) (again []int) {
	now, all, alone := time.Now(), len(at), 0
	again, c.received = at[:0], c.received[:0]
	for position, i := range at {
		item := sink.Item{Position: position}
		if len(items) > 0 && items[0].Position == position {
			item, items = items[0], items[1:]
		}
		switch item.Class {
		case outcome.Indexed:
			if s.outOfService != nil && s.outOfService.any.Load() {
				s.outOfService.took(indexOf(c.records[i].Data))
			}
			if item.Duplicate {
				c.met = append(c.met, met{i, generation})
				continue
			}
			s.Seen.Mark(generation, c.ids[i], c.digests[i].Short())
			c.counts.Indexed++
			if received := c.times[i]; !received.IsZero() {
				c.received = append(c.received, received)
			}
		case outcome.Poison:
			c.dead = append(c.dead, verdict{at: i, cause: item.Error})
		case outcome.Transient:
			if item.IndexAlone {
				alone++
			}
			if s.parker != nil && s.parker.parks(item, string(indexOf(c.records[i].Data))) {
				c.parked = append(c.parked, verdict{at: i, cause: item.Error})
				continue
			}
			s.problem.Set(indexing, item.Error.Failure())
			again = append(again, i)
		default:
			c.open = append(c.open, verdict{at: i, cause: item.Error})
		}
	}
	if s.parker != nil && !before {
		s.parker.learn(all, alone)
	}
	s.Delay.ObserveBatch(now, c.received)
	return again
}

// insist repeats a look into the ledger until it succeeds, or the settler is
// stopped.
func (s *settler) insist(look func(context.Context) error) bool {
	return longcall.Retry(s.going, &s.problem, readingLedger, func() error { return look(s.work) })
}
