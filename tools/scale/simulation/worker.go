package simulation

// worker sends bulks for its shards, as many at once as its limiter allows.
type worker struct {
	*play
	*machine
	dead     bool
	calls    int // that read a shard
	limit    float64
	inFlight int
	base     float64 // the usual time of a bulk, a record
	queue    []*shard
}

// The limiter, as package limiter has it, in short: places grow one by one while all are taken and bulks take what they
// usually do, and shrink while they take far longer.
const (
	limiterStart = 4
	growBelow    = 1.5
	shrinkAbove  = 3.0
	followHigher = 1.0 / 500
	leastTelling = 64 << 10 // bytes of a bulk, from which its latency says anything
)

// leave ends a call. The shard that has waited longest for a slot gets it.
func (w *worker) leave() {
	w.calls--
	if len(w.unread) == 0 {
		return
	}
	next := w.unread[0]
	w.unread = w.unread[1:]
	next.begin(w)
}

// place takes a place for a bulk; a shard that gets none is called when there is one.
func (w *worker) place(s *shard) bool {
	if w.inFlight < int(w.limit) {
		w.inFlight++
		return true
	}
	if !s.waiting {
		s.waiting = true
		w.queue = append(w.queue, s)
	}
	return false
}

// release gives the place of a bulk of so many records back, which took so long.
func (w *worker) release(took, records float64) {
	full := w.inFlight >= int(w.limit)
	w.inFlight--
	ratio := 1.0
	if records*w.MemoryBytes >= leastTelling {
		ratio = w.observe(took / records)
	}
	switch {
	case ratio < growBelow && full:
		w.limit = min(w.limit+1/w.limit, mostInFlight)
	case ratio > shrinkAbove && w.limit > limiterStart:
		w.limit = max(w.limit-1/w.limit, limiterStart)
	}
	for len(w.queue) > 0 && w.inFlight < int(w.limit) {
		s := w.queue[0]
		w.queue = w.queue[1:]
		s.waiting = false
		if s.owner == w && !s.drained {
			s.take()
		}
	}
}

// observe returns how many times longer than usual a record took.
func (w *worker) observe(each float64) (ratio float64) {
	if w.base == 0 || each < w.base {
		w.base = each
	} else {
		w.base += followHigher * (each - w.base)
	}
	return each / w.base
}
