package indexing

import (
	"slices"
	"sync"

	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/telemetry"
)

// flights are the chunks of a worker that are under way. A record that may stand in another index (see skipResent) can have
// its earlier post in another chunk that is under way, where no look-up finds it yet. Then whichever began later waits.
type flights struct {
	mu  sync.Mutex
	all []*flight
}

// flight is one of them.
type flight struct {
	ids     []telemetry.DocID
	resent  map[telemetry.DocID]bool // of the records that may stand in another index; mostly nil
	awaited bool
	ended   chan struct{}
	there   map[telemetry.DocID]telemetry.Digest // once it has ended and is awaited: what is indexed now
}

// enter adds a chunk that is sorted, and returns the chunks that it must wait for: each began before, so that no two wait
// for each other.
func (f *flights) enter(c *Chunk) (own *flight, before []*flight) {
	own = &flight{ids: c.ids, ended: make(chan struct{})}
	if len(c.resent) > 0 {
		own.resent = make(map[telemetry.DocID]bool, len(c.resent))
		for _, e := range c.resent {
			own.resent[c.ids[e.at]] = true
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, other := range f.all {
		if own.meets(other) || other.meets(own) {
			other.awaited = true
			before = append(before, other)
		}
	}
	f.all = append(f.all, own)
	return own, before
}

// meets reports whether a record that may stand in another index is in another chunk, too.
func (own *flight) meets(other *flight) bool {
	return own.resent != nil && slices.ContainsFunc(other.ids, func(id telemetry.DocID) bool { return own.resent[id] })
}

// leave takes a chunk out. complete: each of its records has a verdict, or is indexed.
func (f *flights) leave(own *flight, c *Chunk, complete bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = slices.DeleteFunc(f.all, func(one *flight) bool { return one == own })
	if own.awaited && complete {
		own.there = c.indexed()
	}
	own.ids = nil // the chunk's memory is used again
	close(own.ended)
}

// indexed are the records that are in the sink.
func (c *Chunk) indexed() map[telemetry.DocID]telemetry.Digest {
	there := make(map[telemetry.DocID]telemetry.Digest, len(c.ids))
	for i, id := range c.ids {
		there[id] = c.digests[i]
	}
	for _, verdicts := range [][]Verdict{c.Dead, c.Open, c.Parked} {
		for _, v := range verdicts {
			delete(there, c.ids[v.At])
		}
	}
	for _, i := range c.Stopped {
		delete(there, c.ids[i])
	}
	return there
}

// await waits for other chunks, without a place in the sink, which they may need, and leaves out of the bulk what they
// have indexed. It returns a new place for the rest.
func (s *Run) await(c *Chunk, others []*flight, place func(limiter.Feedback)) (func(limiter.Feedback), error) {
	place(limiter.Feedback{})
	there := map[int]telemetry.Digest{}
	for _, other := range others {
		select {
		case <-other.ended:
		case <-s.call.Going.Done():
			c.Stopped = append(c.Stopped, c.at...)
			return place, longcall.ErrStopped
		}
		for _, i := range c.at {
			if digest, indexed := other.there[c.ids[i]]; indexed {
				there[i] = digest
			}
		}
	}
	if c.skip(there); len(c.at) == 0 {
		return place, nil
	}
	return s.refill(c, c.at)
}
