package indexing

import (
	"slices"
	"sync"

	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// flights are the chunks of a worker that are under way. A record that may stand in another index (see skipResent) can have
// its earlier post in another chunk that is under way, where no look-up finds it yet. Then whichever began later waits, and
// looks for the other's document.
type flights struct {
	mu  sync.Mutex
	all []*flight
}

// flight is one of them.
type flight struct {
	ids    []telemetry.DocID // of its records, while it is under way
	suffix string            // of its indices: chunks with another one write other documents
	// resent are where the records go that may stand in another index; mostly nil.
	resent map[telemetry.DocID]sink.Reference
	ended  chan struct{}
}

// enter adds a chunk that is sorted, and returns the chunks that it must wait for: each began before, so that no two wait
// for each other.
func (f *flights) enter(c *Chunk) (own *flight, before []*flight) {
	own = &flight{ids: c.ids, suffix: c.Suffix, ended: make(chan struct{})}
	if len(c.resent) > 0 {
		own.resent = make(map[telemetry.DocID]sink.Reference, len(c.resent))
		for _, e := range c.resent {
			own.resent[c.ids[e.at]] = sink.Reference{Index: c.Indices.Name(e.at) + c.Suffix, ID: e.ID}
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, other := range f.all {
		if own.suffix == other.suffix && (own.meets(other) || other.meets(own)) {
			before = append(before, other)
		}
	}
	f.all = append(f.all, own)
	return own, before
}

// meets reports whether a record that may stand in another index is in another chunk, too.
func (own *flight) meets(other *flight) bool {
	return own.resent != nil && slices.ContainsFunc(other.ids, func(id telemetry.DocID) bool {
		_, resent := own.resent[id]
		return resent
	})
}

// leave takes a chunk out.
func (f *flights) leave(own *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = slices.DeleteFunc(f.all, func(one *flight) bool { return one == own })
	own.ids = nil // the chunk's memory is used again
	close(own.ended)
}

// await waits for other chunks, without a place in the sink, which they may need, and returns a new place. Only the sink
// knows what became of their records: those of the chunk are to be looked up.
func (s *Run) await(c *Chunk, others []*flight, place func(limiter.Feedback)) (func(limiter.Feedback), error) {
	place(limiter.Feedback{})
	for _, other := range others {
		select {
		case <-other.ended:
		case <-s.call.Going.Done():
			c.Stopped = append(c.Stopped, c.at...)
			return place, longcall.ErrStopped
		}
		for _, i := range c.at {
			if written, is := other.resent[c.ids[i]]; is {
				c.resent = append(c.resent, resent{i, written})
			}
		}
	}
	next, err := s.Place(c.Priority)
	if err != nil {
		c.Stopped = append(c.Stopped, c.at...)
		return place, longcall.ErrStopped
	}
	return next, nil
}
