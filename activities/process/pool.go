package process

import (
	"bytes"
	"cmp"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

const (
	// poolFor is how long what is refused of an offender may wait for more of it:
	// by so much the mark may lag, and there is at most one entry in that time.
	poolFor = time.Second
	// offenders is the name of the puddle that is of no index.
	offenders = ""
	// poolBytes is from how many bytes on it waits no longer.
	poolBytes = deadletter.EntryBytes
)

// pool puts what is refused of offenders together, over all chunks of a shard, and
// what waits for an index that is out of service: so that a flood makes few entries
// of the ledger, one in poolFor, and few ProcessBatch workflows. What it holds lies
// before the mark until that is written.
type pool struct {
	work *work
	most int // bytes from which on it is full

	mu      sync.Mutex
	filling []*puddle     // in the order in which they were begun
	bytes   int           // in all of them
	changed chan struct{} // holds a token after something was added
	closed  chan struct{}
}

// puddle is what is written together.
type puddle struct {
	index   string // that the records wait for, or offenders
	records []stream.Record
	causes  []outcome.Error
	bytes   int
	handing handover
	ends    []func(indexing.Counts) // what follows once it is written; the first is told what else was done
}

func newPool(w *work, prefetch int) *pool {
	// Held records are a part of what is read ahead, which must go on meanwhile.
	return &pool{work: w, most: min(poolBytes, prefetch/2), changed: make(chan struct{}, 1), closed: make(chan struct{})}
}

// add takes what a chunk has set aside, and calls end once that is durable.
func (p *pool) add(c *chunk, end func(also indexing.Counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	touched := map[*puddle]bool{}
	add := func(v indexing.Verdict, name string) {
		r := c.Records[v.At]
		r.Data = bytes.Clone(r.Data) // the chunk's memory is used again
		f := p.puddle(name)
		f.records, f.causes = append(f.records, r), append(f.causes, v.Cause)
		f.bytes += indexing.Memory(r)
		p.bytes += indexing.Memory(r)
		touched[f] = true
	}
	for _, v := range c.aside {
		add(v, offenders)
	}
	for _, v := range c.Parked {
		add(v, c.Indices.Name(v.At))
	}
	if c.merging {
		f := p.puddle(offenders)
		f.handing.merge(p.work.batches.handoverOf(c))
		touched[f] = true
	}
	var left atomic.Int64 // of the puddles; one goroutine writes them
	left.Store(int64(len(touched)))
	var all indexing.Counts
	for f := range touched {
		f.ends = append(f.ends, func(also indexing.Counts) {
			if all.Add(also); left.Add(-1) == 0 {
				end(all)
			}
		})
	}
	p.wake()
}

// puddle is the one of an index, or of the offenders.
func (p *pool) puddle(name string) *puddle {
	for _, f := range p.filling {
		if f.index == name {
			return f
		}
	}
	p.filling = append(p.filling, &puddle{index: name})
	return p.filling[len(p.filling)-1]
}

// wake says that there is something to write.
func (p *pool) wake() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// run writes what is added, until the pool is closed or the call is stopped
// and something cannot be written.
func (p *pool) run() {
	for {
		select {
		case <-p.changed:
		case <-p.closed:
			for f := p.next(); f != nil; f = p.next() {
				if !p.write(f) {
					return
				}
			}
			return
		}
		p.fill()
		if f := p.next(); f != nil && !p.write(f) {
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
		case <-p.work.call.Going.Done():
			return
		}
	}
}

func (p *pool) isFull() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bytes >= p.most
}

// next takes the puddle that was begun first; nil if there is none.
func (p *pool) next() *puddle {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.filling) == 0 {
		return nil
	}
	taken := p.filling[0]
	p.filling = p.filling[1:]
	p.bytes -= taken.bytes
	if len(p.filling) > 0 {
		p.wake()
	}
	return taken
}

// write makes what was pooled durable. It fails when the call was stopped
// before that.
func (p *pool) write(f *puddle) bool {
	if dead := p.entries(f); len(dead) > 0 {
		if !p.work.deadLetters.write(dead) {
			return false
		}
		if f.index == offenders {
			pooledRecords.Add(float64(len(f.records)))
		} else if !p.startDrain(f) {
			return false
		}
	}
	var also indexing.Counts
	if f.handing.records > 0 {
		if !p.work.batches.start(f.handing) {
			return false
		}
		also.Batches = 1
	}
	for _, end := range f.ends {
		end(also)
		also = indexing.Counts{}
	}
	return true
}

// entries are the records of a puddle in the order of the shard.
func (p *pool) entries(f *puddle) []deadletter.Group {
	verdicts := make([]indexing.Verdict, len(f.records))
	order := make([]int, len(f.records))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(telemetry.ComparePositions(f.records[a].Sequence, f.records[b].Sequence), cmp.Compare(a, b))
	})
	records := make([]stream.Record, len(order))
	for at, i := range order {
		records[at], verdicts[at] = f.records[i], indexing.Verdict{At: at, Cause: f.causes[i]}
	}
	all := p.work.deadLetters.sparse(records, verdicts)
	for i := range all {
		all[i].Parked = f.index
	}
	return all
}

// startDrain has what is parked brought home, once its index takes it.
func (p *pool) startDrain(f *puddle) bool {
	w := p.work
	slog.Warn("parked records whose index alone is out of service", "stream", w.processor.Stream.Name, "shard", w.shard,
		"index", f.index, "records", len(f.records), "error", f.causes[0].Type)
	parkedRecords.Add(float64(len(f.records)))
	start := func() error { return w.processor.Drains.StartDrain(w.call.Work, w.processor.Stream, f.index) }
	return w.call.Retry(startingDrain, start)
}
