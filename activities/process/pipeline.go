package process

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"millrace/internal/circuit"
	"millrace/internal/container"
	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/source"
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
	work    *work
	circuit *circuit.Circuit
	mark    *mark
	pool    *pool
	lane    *lane

	pages chan page
	held  *semaphore.Weighted // bytes read and not settled yet
	turn  chan struct{}
	rest  page // what is left of the page that is being cut; belongs to whose turn it is

	children []string // set at the end of the shard
	// replaced says that the stream was made anew, and lost that this is reported.
	replaced source.Replacement
	lost     bool
}

// chunk is a stretch of a shard, or a part of one.
type chunk struct {
	indexing.Chunk
	stretch *stretch
	bytes   int                // that its records keep in memory: see indexing.Memory
	gaps    bool               // there are other records between its own
	aside   []indexing.Verdict // dead, of offenders: they go to the ledger together with others
	merging bool               // open records are of offenders alone, and go to a ProcessBatch together with others
}

// chunks are the memory of chunks that are settled, for all shards of the worker: as many are in use as may be sent at once.
var chunks = sync.Pool{New: func() any { return &chunk{} }}

// release gives the memory of a chunk back.
func (c *chunk) release() {
	c.Reset()
	c.stretch, c.bytes, c.gaps, c.aside, c.merging = nil, 0, false, nil, false
	chunks.Put(c)
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

// settle says that so many of its records are settled.
func (l *loan) settle(records int64) {
	if l.left.Add(-records) == 0 {
		l.release()
	}
}

// giveBack says that the records of the chunk are settled.
func (l *loans) giveBack() {
	for _, of := range *l {
		of.settle(of.records)
	}
	clear(*l)
	*l = (*l)[:0]
}

// newPipeline begins a call. The caller abandons it at last.
func newPipeline(ctx context.Context, p *Processor, shard string, c *circuit.Circuit, m *mark) *pipeline {
	w := p.begin(ctx, shard)
	if p.Drains != nil {
		w.run.Park(p.Limits.ParkAfter)
	}
	return &pipeline{
		work:    w,
		circuit: c,
		mark:    m,
		pool:    newPool(w, p.Limits.PrefetchBytes),
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
func (p *pipeline) run(reader source.Reader) {
	var group, yielding, pooling sync.WaitGroup
	pooling.Go(p.pool.run)
	group.Go(func() { p.read(reader) })
	for range p.work.processor.Limits.BulksPerShard {
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
func (p *pipeline) read(reader source.Reader) {
	defer close(p.pages)
	p.replaced.Last = p.mark.state().checkpoint
	for {
		var next stream.Page
		read := func() (err error) {
			defer longcall.CatchPanic(&err)
			next, err = reader.Next(p.work.call.Going)
			return p.replaced.Read(next, err)
		}
		if !p.work.call.Retry(reading, read) {
			return
		}
		if p.replaced.By != nil { // what was read of it goes on
			p.lost = p.reportLoss(p.replaced.Loss())
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
		portion, n, ok := p.portion(records, from)
		if !ok {
			return false
		}
		portion.end = end
		if n < len(records) {
			portion.end = telemetry.Checkpoint{ReadUpTo: records[n-1].Arrived}
		}
		select {
		case p.pages <- portion:
		case <-p.work.call.Going.Done():
			return false
		}
		if records = records[n:]; len(records) == 0 {
			return true
		}
	}
}

// portion takes from the beginning of some records, n of them, what fits into memory, with the documents that containers
// hold. It fails when the pipeline was stopped before there was room.
func (p *pipeline) portion(records []stream.Record, from *loan) (portion page, n int, ok bool) {
	room, containers := 0, false
	for n < len(records) {
		more, isContainer := indexing.Memory(records[n]), records[n].IsContainer()
		if isContainer {
			more += unpackedSize(records[n])
		}
		if n > 0 && room+more > p.work.processor.Limits.PrefetchBytes/4 {
			break
		}
		room, containers, n = room+more, containers || isContainer, n+1
	}
	if p.held.Acquire(p.work.call.Going, int64(room)) != nil {
		return page{}, n, false
	}
	if !containers {
		return page{records: records[:n], loan: from}, n, true
	}
	portion, taken := unpack(records[:n], from), 0
	for _, d := range portion.records {
		taken += indexing.Memory(d)
	}
	if taken <= room {
		p.held.Release(int64(room - taken))
		return portion, n, true
	}
	return portion, n, p.held.Acquire(p.work.call.Going, int64(taken-room)) == nil
}

// unpackedSize is how much more memory a container takes for its documents, but for what each costs beside its bytes: how
// many they are is not known.
func unpackedSize(r stream.Record) int {
	size, err := container.Size(r.Data)
	if err != nil { // it stays as it is
		return 0
	}
	return size
}

// unpack puts the documents of containers in their place. Their memory is a loan of its own, and that of the records goes
// back with it.
func unpack(records []stream.Record, from *loan) page {
	documents, release := stream.Unpack(records)
	own := &loan{release: func() {
		release()
		from.settle(int64(len(records)))
	}}
	own.left.Store(int64(len(documents)))
	if len(documents) == 0 {
		own.release()
	}
	return page{records: documents, loan: own}
}

// index takes chunks and settles them until there are no more.
func (p *pipeline) index() {
	for from := (loans{}); ; from.giveBack() {
		c, place, ok := p.nextChunk(&from)
		if !ok || !p.settle(c, place) {
			return
		}
		p.finish(c)
		c.release()
	}
}

// indexLane settles the parts that are in the lane until there are no more.
func (p *pipeline) indexLane() {
	for {
		next, ok := p.lane.next(p.work.call.Going)
		if !ok {
			return
		}
		c := chunks.Get().(*chunk)
		next.into(c)
		place, err := p.work.run.Place(c.Priority)
		if err != nil || !p.settle(c, place) {
			return
		}
		p.finish(c)
		c.release()
		next.from.giveBack()
	}
}

// finish ends the stretch of a chunk that is settled; if some of it was set
// aside, once that is durable, too.
func (p *pipeline) finish(c *chunk) {
	end := func(stretch *stretch, counts indexing.Counts) {
		publish(counts)
		p.mark.end(stretch, counts)
	}
	if len(c.aside)+len(c.Parked) == 0 && !c.merging {
		end(c.stretch, c.Counts)
		p.held.Release(int64(c.bytes))
		return
	}
	if c.merging {
		c.Counts.HandedOver = c.Counts.Records - c.Counts.Indexed - c.Counts.Earlier() - c.Counts.DeadLetters
	}
	stretch, counts, held := c.stretch, c.Counts, 0
	for _, verdicts := range [...][]indexing.Verdict{c.aside, c.Parked} {
		for _, v := range verdicts {
			held += indexing.Memory(c.Records[v.At])
		}
	}
	p.held.Release(int64(c.bytes - held))
	p.pool.add(c, func(also indexing.Counts) {
		counts.Add(also)
		end(stretch, counts)
		p.held.Release(int64(held))
	})
}

// nextChunk waits its turn, for records, and for a place in Elasticsearch, and then
// takes as much as has been read, up to the bounds of a bulk.
func (p *pipeline) nextChunk(from *loans) (c *chunk, place func(limiter.Feedback), ok bool) {
	select {
	case p.turn <- struct{}{}:
	case <-p.work.call.Going.Done():
		return nil, nil, false
	}
	defer func() { <-p.turn }()
	for len(p.rest.records) == 0 {
		select {
		case next, open := <-p.pages:
			if !open {
				return nil, nil, false
			}
			if p.rest = next; len(next.records) == 0 {
				p.mark.end(p.mark.begin(next.end), indexing.Counts{}) // time has passed
			}
		case <-p.work.call.Going.Done():
			return nil, nil, false
		}
	}
	place, err := p.work.run.Place(limiter.Live)
	if err != nil {
		return nil, nil, false
	}
	c = chunks.Get().(*chunk)
	c.stretch = p.mark.begin(p.cut(c, from))
	parts := p.yield(c, from)
	p.mark.divide(c.stretch, len(parts))
	p.lane.add(parts)
	return c, place, true
}

// cut moves records from the pages to a chunk and returns where they end; that is behind a whole record of the stream.
func (p *pipeline) cut(c *chunk, from *loans) (end telemetry.Checkpoint) {
	most := p.work.processor.Indexer.Limiter.State().BulkBytes
	for bytes := 0; len(c.Records) < p.work.processor.Limits.BulkRecords; {
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
		if bytes += len(r.Data); len(c.Records) > 0 && bytes > most {
			return end
		}
		c.Records = append(c.Records, r)
		from.add(p.rest.loan)
		c.bytes += indexing.Memory(r)
		p.rest.records = p.rest.records[1:]
		if r.Continues {
			continue // a takeover reads a container again, as a whole
		}
		end.Sequence, end.Arrived, end.ReadUpTo = telemetry.SequenceOf(r.Sequence), r.Arrived, r.Arrived
		if len(p.rest.records) == 0 {
			end.ReadUpTo, end.Closed = p.rest.end.ReadUpTo, p.rest.end.Closed
		}
	}
	return end
}

// settle ensures that each record of a chunk is durable somewhere: indexed, or in the
// ledger, or in a ProcessBatch; but for what is set aside of offenders, which the pool
// takes. It fails only when the pipeline was stopped before that; the mark then stays
// in front of the chunk.
func (p *pipeline) settle(c *chunk, place func(limiter.Feedback)) bool {
	w := p.work
	if w.run.Index(&c.Chunk, place) != nil || w.run.Bisect(&c.Chunk) != nil {
		return false
	}
	offenders, passes := p.circuit.Judge(c.Tally(), c.LastCause)
	if !passes {
		w.call.Stop(errTripped)
		return false
	}
	c.setAside(offenders)
	p.countAside(c)
	return w.deadLetters.writeChunk(c) && (c.merging || w.batches.handOver(c))
}

// countAside enters how many records of each offender are set aside.
func (p *pipeline) countAside(c *chunk) {
	if len(c.aside) == 0 {
		return
	}
	records := map[string]int{}
	for _, v := range c.aside {
		records[c.Tenants.Name(v.At)]++
	}
	for tenant, n := range records {
		p.circuit.GaveUp(tenant, n)
	}
}

// errTripped ends a call of IndexShard whose circuit has opened.
var errTripped = errors.New("most tenants' records are refused")

// setAside sets aside the records of offenders that were refused each for its own
// sake. What was refused as a whole is for a ProcessBatch: of one for each chunk there
// would be a flood of those.
func (c *chunk) setAside(offenders map[string]bool) {
	keep := func(verdicts []indexing.Verdict) []indexing.Verdict {
		kept := verdicts[:0]
		for _, v := range verdicts {
			if !v.Whole && offenders[c.Tenants.Name(v.At)] {
				c.aside = append(c.aside, v)
			} else {
				kept = append(kept, v)
			}
		}
		return kept
	}
	c.Dead, c.Open = keep(c.Dead), keep(c.Open)
	c.merging = len(c.Open) > 0
	for _, v := range c.Open {
		c.merging = c.merging && v.Whole && offenders[c.Tenants.Name(v.At)]
	}
}

// reportLoss says that records may have been trimmed before they were read, in
// the log, in the metrics, and for good in the ledger.
func (p *pipeline) reportLoss(loss *stream.Loss) bool {
	if loss == nil {
		return true
	}
	w := p.work
	slog.Error("records may have been trimmed from the stream before they were read: look into the backup",
		"stream", w.processor.Stream.Name, "shard", w.shard, "after", loss.After, "before", loss.Before, "from", loss.From, "to", loss.To)
	deadletter.Losses.Inc()
	r := telemetry.Range{
		StreamARN: w.processor.Stream.ARN, StreamCreated: w.processor.Stream.Created, Shard: w.shard, First: loss.After, Last: loss.Before,
	}
	cause := outcome.Error{Type: outcome.TypePossibleLoss, Reason: "a part of the shard may have been trimmed before it was indexed: " + loss.String()}
	if !w.deadLetters.writeLoss(r, cause) {
		return false
	}
	// It is counted where it lies: before the records that come next.
	p.mark.end(p.mark.begin(telemetry.Checkpoint{}), indexing.Counts{Losses: 1})
	return true
}
