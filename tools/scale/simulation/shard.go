package simulation

import (
	"math"

	"millrace/internal/stream"
)

// shard is one of the stream, and what a worker has of it.
type shard struct {
	*play
	rate, backlog float64
	since         float64 // when it was opened
	closed        float64 // when it was; infinite while it is open
	children      []*shard
	drained       bool

	owner     *worker
	run       int     // of its reading: what belongs to an earlier one is not heard of
	heartbeat float64 // the last one
	saved     float64 // the position in it
	began     float64 // the call

	read    float64 // up to where
	taken   float64 // up to where it is in bulks
	mark    float64 // up to where all is indexed
	open    []*bulk // in the order of the shard
	known   float64 // up to where all was indexed by earlier runs
	stray   []*bulk // of those, behind that
	full    bool    // the reader waits for memory
	waiting bool    // in the queue of its worker
}

// bulk is a part of a shard on its way.
type bulk struct {
	from, to float64
	fresh    float64 // records that no earlier run has sent
	sent     float64
	done     bool
}

// arrived is how many records have come by a time.
func (s *shard) arrived(at float64) float64 {
	return s.backlog + s.rate*(min(at, s.closed)-s.since)
}

// arrival is when the record at a position came.
func (s *shard) arrival(position float64) float64 {
	if position <= s.backlog || s.rate == 0 {
		return s.since
	}
	return s.since + (position-s.backlog)/s.rate
}

// lag is how long the first record that is not indexed has waited.
func (s *shard) lag() float64 {
	if s.drained || s.arrived(s.now)-s.mark < 1 {
		return 0
	}
	return s.now - s.arrival(s.mark)
}

// begin begins a call on a worker, where the last heartbeat stood.
func (s *shard) begin(w *worker) {
	s.owner, s.run, s.began, s.heartbeat = w, s.run+1, s.now, s.now
	s.known, s.stray = max(s.known, s.mark), append(s.stray, s.open...)
	s.read, s.taken, s.mark = s.saved, s.saved, s.saved
	s.open, s.full, s.waiting = nil, false, false
	s.writes += writesOfCall
	w.calls++
	if s.OneMachine > 0 {
		s.cluster.work(s.now, s.Costs.OtherCall)
	}
	s.later(w.work(s.now, s.Costs.WorkerCall), s.poll)
	s.beat(1) // longcall says early that it runs
}

// takeOver begins it on a worker that lives.
func (s *shard) takeOver() {
	s.writes += writesOfTimeout
	s.reassign(s)
}

// end gives back the slot that the shard has on its worker.
func (s *shard) end() {
	s.run++ // nothing that it had under way is heard of again
	w := s.owner
	s.owner = nil
	w.leave()
}

// later schedules what is of this run.
func (s *shard) later(at float64, do func()) {
	run := s.run
	s.at(at, func() {
		if s.run == run {
			do()
		}
	})
}

// beat saves the position, now and again. A call that is due ends with one, and another worker may go on.
func (s *shard) beat(after float64) {
	s.later(s.now+after, func() {
		if s.drained {
			return
		}
		s.heartbeat, s.saved = s.now, s.mark
		s.writes += writesOfHeartbeat
		if s.now-s.began >= callFor && len(s.open) == 0 {
			s.end()
			s.at(s.now+beginsAfter, func() { s.reassign(s) })
			return
		}
		s.beat(heartbeatEvery)
	})
}

// poll reads a page.
func (s *shard) poll() {
	room := aheadBytes/s.MemoryBytes - (s.read - s.mark)
	if room < 1 {
		s.full = true
		return
	}
	n := math.Floor(min(s.arrived(s.now)-s.read, s.PageRecords, max(1, stream.UsualPageBytes/s.RecordBytes), room))
	wait := idleWait
	if n >= 1 {
		s.read += n
		wait = max(1/float64(callsPerS), n*s.RecordBytes/bytesPerS)
		if s.Unbounded {
			wait = 0
		}
		s.take()
	} else if s.read >= math.Floor(s.arrived(s.closed)) && s.now > s.closed {
		s.finish()
		return
	}
	s.later(s.now+max(wait, leastWait), s.poll)
}

// leastWait is a page's way there and back, in seconds.
const leastWait = 0.001

// take sends what is read, as far as there are places.
func (s *shard) take() {
	for s.taken < s.read && len(s.open) < bulksPerShard {
		if !s.owner.place(s) {
			return
		}
		b := &bulk{from: s.taken, to: min(s.read, s.taken+BulkRecords), sent: s.now}
		s.taken = b.to
		s.open = append(s.open, b)
		n := b.to - b.from
		b.fresh = n - s.again(b)
		s.reread += n - b.fresh
		if s.OneMachine > 0 {
			s.cluster.work(s.now, n*s.Costs.OtherRecord)
		}
		w := s.owner
		made := w.work(s.now, n*s.Costs.WorkerRecord+s.Costs.WorkerBulk)
		s.at(made, func() { s.send(w, b) })
	}
}

// send has the cluster index a bulk. A worker that has died meanwhile sends none.
func (s *shard) send(w *worker, b *bulk) {
	if w.dead {
		return
	}
	run := s.run
	n := b.to - b.from
	done := s.cluster.divided(s.now, s.slow*(n*s.Costs.ClusterRecord+s.Costs.ClusterBulk)) + s.slow*s.Costs.BulkLatency.Seconds()
	s.at(done, func() {
		s.count(b)
		if s.run == run {
			s.settle()
		}
		if !w.dead {
			w.release(s.now-b.sent, n)
		}
	})
}

// again is how many records of a bulk an earlier run has had indexed.
func (s *shard) again(b *bulk) float64 {
	n := max(min(b.to, s.known)-b.from, 0)
	for _, other := range s.stray {
		if other.done {
			n += max(min(b.to, other.to)-max(b.from, other.from, s.known), 0)
		}
	}
	return n
}

// count enters what is indexed for the first time.
func (s *shard) count(b *bulk) {
	b.done = true
	if b.fresh > 0 {
		s.indexed += b.fresh
		s.delays.add(s.now, s.arrival(b.to-b.fresh), s.arrival(b.to), b.fresh)
	}
}

// settle moves the mark.
func (s *shard) settle() {
	for len(s.open) > 0 && s.open[0].done {
		s.mark, s.open = s.open[0].to, s.open[1:]
	}
	s.take()
	if s.full {
		s.full = false
		s.poll()
	}
	s.finish()
}

// finish ends a shard that is closed, when all of it is indexed, and begins its children.
func (s *shard) finish() {
	if s.drained || s.now < s.closed || s.mark < math.Floor(s.arrived(s.closed)) {
		return
	}
	s.drained = true
	s.end()
	for _, child := range s.children {
		s.at(s.now+childrenAfter, func() { s.reassign(child) })
	}
}
