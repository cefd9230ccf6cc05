package activities

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// pipeline moves one shard into Elasticsearch:
//
//	read ──pages──> take a chunk, in turn ──> settle ───────────> mark
//	                         └──> lane ───────┘  └──> pool ──┘
//
// One goroutine reads ahead. A few others take turns: whose turn it is waits
// for records and for a free place in Elasticsearch, takes a chunk of all that
// has been read by then, and passes the turn on while it settles the chunk. So
// a record that finds a free place is sent at once, and bulks grow
// while there is none. What other records of the chunk would wait for
// goes into the lane.
type pipeline struct {
	*settler
	mark *mark
	pool *pool
	lane *lane

	pages chan page
	held  *semaphore.Weighted // bytes read and not settled yet
	turn  chan struct{}
	rest  page // what is left of the page that is being cut; belongs to whose turn it is

	children []string // set at the end of the shard
	// replaced says that the stream was made anew, and lost that this is reported.
	replaced replacement
	lost     bool
}

// page is a stream.Page, or a portion of it, on its way to the chunks.
type page struct {
	records []stream.Record
	end     telemetry.Checkpoint // behind the page
	loan    *loan
}

// loan is the memory of a stream.Page. It goes back when all its records are
// settled; if the pipeline is stopped before, the garbage collector takes it.
type loan struct {
	left    atomic.Int64 // records that are not settled
	release func()
}

// loans are what the records of a chunk lie in.
type loans []struct {
	*loan
	records int64
}

// add notes one more record.
func (l *loans) add(from *loan) {
	if last := len(*l) - 1; last >= 0 && (*l)[last].loan == from {
		(*l)[last].records++
		return
	}
	*l = append(*l, struct {
		*loan
		records int64
	}{from, 1})
}

// giveBack says that the records of the chunk are settled.
func (l *loans) giveBack() {
	for _, of := range *l {
		if of.left.Add(-of.records) == 0 {
			of.release()
		}
	}
	clear(*l)
	*l = (*l)[:0]
}

func newPipeline(ctx context.Context, p *Processor, shard string, m *mark) *pipeline {
	s := newSettler(ctx, p, shard)
	if p.Drains != nil {
		s.parker = &parker{after: p.Limits.ParkAfter, known: p.outOfService}
	}
	return &pipeline{
		settler: s,
		mark:    m,
		pool:    newPool(s, p.Limits.PrefetchBytes),
		lane:    newLane(),
		// A page may be next to nothing, at the tip of a shard: what bounds
		// reading ahead is bytes.
		pages: make(chan page, pagesAhead),
		held:  semaphore.NewWeighted(int64(p.Limits.PrefetchBytes)),
		turn:  make(chan struct{}, 1),
	}
}

// pagesAhead is the most pages read ahead of the one being cut: 12 s of
// polling at Kinesis's five calls a second.
const pagesAhead = 64

// run moves the shard until it ends or the pipeline is stopped.
func (p *pipeline) run(reader Reader) {
	var group, yielding, pooling sync.WaitGroup
	pooling.Go(p.pool.run)
	group.Go(func() { p.read(reader) })
	for range p.Limits.BulksPerShard {
		group.Go(p.index)
		yielding.Go(p.indexLane)
	}
	group.Wait()
	p.lane.close()
	yielding.Wait()
	close(p.pool.closed)
	pooling.Wait()
}

// read reads ahead, page by page, within the bounds of memory.
func (p *pipeline) read(reader Reader) {
	defer close(p.pages)
	p.replaced.last = p.mark.state().checkpoint
	for {
		var next stream.Page
		read := func() (err error) {
			defer longcall.CatchPanic(&err)
			next, err = reader.Next(p.going)
			return p.replaced.read(next, err)
		}
		if !longcall.Retry(p.going, &p.problem, reading, read) {
			return
		}
		if p.replaced.by != nil { // what was read of it goes on
			p.lost = p.reportLoss(p.replaced.loss())
			return
		}
		if !p.reportLoss(next.Loss) {
			return
		}
		if next.End {
			p.children = next.Children
		}
		end := telemetry.Checkpoint{ReadUpTo: next.ReadUpTo, Closed: next.End}
		if !p.pass(next, end) || next.End {
			return
		}
	}
}

// pass hands over a page, in portions that fit into memory together with what
// is there already.
func (p *pipeline) pass(whole stream.Page, end telemetry.Checkpoint) bool {
	from := &loan{release: whole.Release}
	from.left.Store(int64(len(whole.Records)))
	for records := whole.Records; ; {
		n, bytes := 0, 0
		for n < len(records) && (n == 0 || bytes+kept(records[n]) <= p.Limits.PrefetchBytes/4) {
			bytes += kept(records[n])
			n++
		}
		portion := page{records[:n], end, from}
		if n < len(records) {
			portion.end = telemetry.Checkpoint{ReadUpTo: records[n-1].Arrived}
		}
		if p.held.Acquire(p.going, int64(bytes)) != nil {
			return false
		}
		select {
		case p.pages <- portion:
		case <-p.going.Done():
			return false
		}
		if records = records[n:]; len(records) == 0 {
			return true
		}
	}
}

// index takes chunks and settles them until there are no more.
func (p *pipeline) index() {
	c, from := &chunk{}, loans{}
	for {
		place, ok := p.take(c, &from)
		if !ok || !p.settle(c, place) {
			return
		}
		p.finish(c)
		c.reset()
		from.giveBack()
	}
}

// indexLane settles the parts that are in the lane until there are no more.
func (p *pipeline) indexLane() {
	for c := (&chunk{}); ; c.reset() {
		next, ok := p.lane.take(p.going)
		if !ok {
			return
		}
		next.into(c)
		place, err := p.Limiter.Acquire(p.going, c.priority)
		if err != nil || !p.settle(c, place) {
			return
		}
		p.finish(c)
		next.from.giveBack()
	}
}

// finish ends the stretch of a chunk that is settled; if some of it was set
// aside, once that is durable, too.
func (p *pipeline) finish(c *chunk) {
	end := func(stretch *stretch, counts Counts) {
		counts.publish()
		p.mark.end(stretch, counts)
	}
	if len(c.aside)+len(c.parked) == 0 && !c.merging {
		end(c.stretch, c.counts)
		p.held.Release(int64(c.size))
		return
	}
	if c.merging {
		c.counts.HandedOver = c.counts.Records - c.counts.Indexed - c.counts.Earlier() - c.counts.DeadLetters
	}
	stretch, counts, held := c.stretch, c.counts, 0
	for _, verdicts := range [...][]verdict{c.aside, c.parked} {
		for _, v := range verdicts {
			held += kept(c.records[v.at])
		}
	}
	p.held.Release(int64(c.size - held))
	p.pool.add(c, func(also Counts) {
		counts.Add(also)
		end(stretch, counts)
		p.held.Release(int64(held))
	})
}

// take waits its turn, for records, and for a place in Elasticsearch, and then
// takes as much as has been read, up to the bounds of a bulk.
func (p *pipeline) take(c *chunk, from *loans) (place func(limiter.Feedback), ok bool) {
	select {
	case p.turn <- struct{}{}:
	case <-p.going.Done():
		return nil, false
	}
	defer func() { <-p.turn }()
	for len(p.rest.records) == 0 {
		select {
		case next, open := <-p.pages:
			if !open {
				return nil, false
			}
			if p.rest = next; len(next.records) == 0 {
				p.mark.end(p.mark.begin(next.end), Counts{}) // time has passed
			}
		case <-p.going.Done():
			return nil, false
		}
	}
	place, err := p.Limiter.Acquire(p.going, limiter.Live)
	if err != nil {
		return nil, false
	}
	c.stretch = p.mark.begin(p.cut(c, from))
	parts := p.yield(c, from)
	p.mark.divide(c.stretch, len(parts))
	p.lane.add(parts)
	return place, true
}

// cut moves records from the pages to a chunk and returns where they end.
func (p *pipeline) cut(c *chunk, from *loans) (end telemetry.Checkpoint) {
	most := p.Limiter.State().BulkBytes
	for bytes := 0; len(c.records) < p.Limits.BulkRecords; {
		if len(p.rest.records) == 0 {
			select {
			case next, open := <-p.pages:
				if !open {
					return end
				}
				if p.rest = next; len(next.records) == 0 {
					end.ReadUpTo, end.Closed = next.end.ReadUpTo, next.end.Closed
				}
				continue
			default:
				return end
			}
		}
		r := p.rest.records[0]
		if bytes += len(r.Data); len(c.records) > 0 && bytes > most {
			return end
		}
		c.records = append(c.records, r)
		from.add(p.rest.loan)
		c.size += kept(r)
		end.Sequence, end.Arrived, end.ReadUpTo = r.Sequence, r.Arrived, r.Arrived
		if p.rest.records = p.rest.records[1:]; len(p.rest.records) == 0 {
			end.ReadUpTo, end.Closed = p.rest.end.ReadUpTo, p.rest.end.Closed
		}
	}
	return end
}
