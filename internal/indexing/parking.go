package indexing

import (
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/circuit"
	"millrace/internal/sink"
)

// outFor is how long an index is remembered as out of service after it was last
// met so.
const outFor = 5 * time.Minute

// outOfService remembers which indices alone are out of service. All shards of a
// worker share it. It is safe for concurrent use.
type outOfService struct {
	any atomic.Bool // whether it remembers one: nearly never

	mu    sync.Mutex
	index map[string]*outage
}

type outage struct{ since, seen time.Time }

// refused enters that an index has refused a record, and returns since when it
// does.
func (o *outOfService) refused(name string, now time.Time) (since time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	known := o.index[name]
	if known == nil || now.Sub(known.seen) > outFor {
		known = &outage{since: now}
		if o.index == nil {
			o.index = map[string]*outage{}
		}
		o.index[name] = known
	}
	known.seen = now
	o.any.Store(true)
	return known.since
}

// took enters that an index has taken a record.
func (o *outOfService) took(name string) {
	if !o.any.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.index, name)
	o.any.Store(len(o.index) > 0)
}

// Park lets the run park records: those whose index alone has refused for so long, and
// not most of the shard's, end in Chunk.Parked. The worker's other calls learn of such
// an index.
func (s *Run) Park(after time.Duration) {
	s.parker = &parker{after: after, known: s.indexer.outOfService}
}

// ParkAtOnce lets the run park each record whose index alone is out of service.
func (s *Run) ParkAtOnce() { s.parker = &parker{known: &outOfService{}} }

// parker decides for one shard whether what an index refuses is parked. It is
// safe for concurrent use.
type parker struct {
	after time.Duration // zero: at once
	known *outOfService

	mu    sync.Mutex
	share circuit.Window // of the last records of the shard, those refused by indices alone
}

// learn enters how many records of a bulk were refused by indices alone, when
// they were sent for the first time.
func (p *parker) learn(records, alone int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.share.Add(circuit.Sample{Records: records, Bad: float64(alone)})
}

// parks reports whether a record that an index refuses is parked: when the index
// has refused for long enough, and most records of the shard are not concerned.
// Otherwise it is the cluster, and the shard waits.
func (p *parker) parks(item sink.Item, name string) bool {
	if !item.IndexAlone {
		return false
	}
	now := time.Now()
	since := p.known.refused(name, now)
	if p.after == 0 {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Sub(since) >= p.after && p.share.Sum().Share() <= circuit.MostBad
}
