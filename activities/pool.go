package activities

import (
	"bytes"
	"cmp"
	"slices"
	"sync"
	"time"

	"millrace/internal/index"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

const (
	// poolFor is how long what is refused of an offender may wait for more of it:
	// by so much the mark may lag, and there is at most one entry in that time.
	poolFor = time.Second
	// poolBytes is from how many bytes on it waits no longer.
	poolBytes = entryBytes
)

// pool puts what is refused of offenders together, over all chunks of a shard,
// so that a flood of poison makes few entries of the ledger and few ProcessBatch
// workflows. What it holds lies before the mark until that is written.
type pool struct {
	*settler
	most int // bytes from which on it is full

	mu      sync.Mutex
	filling *puddle       // nil: nothing
	changed chan struct{} // holds a token after something was added
	closed  chan struct{}
}

// puddle is what is written together.
type puddle struct {
	records []stream.Record
	causes  []index.Error
	bytes   int
	handing handover
	ends    []func(Counts) // what follows once it is written; the first is told what else was done
}

func newPool(s *settler, prefetch int) *pool {
	// What is held is a part of what is read ahead, which must go on meanwhile.
	return &pool{settler: s, most: min(poolBytes, prefetch/2), changed: make(chan struct{}, 1), closed: make(chan struct{})}
}

// add takes what a chunk has set aside, and calls end once that is durable.
func (p *pool) add(c *chunk, end func(also Counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.filling == nil {
		p.filling = &puddle{}
	}
	f := p.filling
	for _, v := range c.aside {
		r := c.records[v.at]
		r.Data = bytes.Clone(r.Data) // the chunk's memory is used again
		f.records, f.causes = append(f.records, r), append(f.causes, v.cause)
		f.bytes += kept(r)
	}
	if c.merging {
		f.handing.merge(p.handOverOf(c))
	}
	f.ends = append(f.ends, end)
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// run writes what is added, until the pool is closed or the settler is stopped
// and something cannot be written.
func (p *pool) run() {
	for {
		select {
		case <-p.changed:
		case <-p.closed:
			p.write(p.take())
			return
		}
		p.fill()
		if !p.write(p.take()) {
			return
		}
	}
}

// fill waits until the pool is full, or it is time.
func (p *pool) fill() {
	timer := time.NewTimer(poolFor)
	defer timer.Stop()
	for !p.isFull() {
		select {
		case <-p.changed:
		case <-timer.C:
			return
		case <-p.closed:
			return
		case <-p.going.Done():
			return
		}
	}
}

func (p *pool) isFull() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.filling != nil && p.filling.bytes >= p.most
}

func (p *pool) take() *puddle {
	p.mu.Lock()
	defer p.mu.Unlock()
	taken := p.filling
	p.filling = nil
	return taken
}

// write makes what was pooled durable. It fails when the settler was stopped
// before that.
func (p *pool) write(f *puddle) bool {
	if f == nil {
		return true
	}
	if dead := p.entries(f); len(dead) > 0 {
		bury := func() error { return p.Morgue.Bury(p.work, dead) }
		if !insist(p.going, &p.problem, burying, bury) {
			return false
		}
		pooledRecords.Add(float64(len(f.records)))
	}
	var also Counts
	if f.handing.records > 0 {
		if !p.start(f.handing) {
			return false
		}
		also.Batches = 1
	}
	for _, end := range f.ends {
		end(also)
		also = Counts{}
	}
	return true
}

// entries are the records of a puddle in the order of the shard.
func (p *pool) entries(f *puddle) []Dead {
	verdicts := make([]verdict, len(f.records))
	order := make([]int, len(f.records))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(telemetry.CompareSequence(f.records[a].Sequence, f.records[b].Sequence), cmp.Compare(a, b))
	})
	records := make([]stream.Record, len(order))
	for at, i := range order {
		records[at], verdicts[at] = f.records[i], verdict{at: at, cause: f.causes[i]}
	}
	return p.sparse(p.shard, records, verdicts)
}
