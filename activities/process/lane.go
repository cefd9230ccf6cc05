package process

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"millrace/internal/indexing"
	"millrace/internal/limiter"
	"millrace/internal/stream"
)

// quickBytes is how much of a chunk goes at once where one tenant has sent far more
// than others, and how large the parts are that the rest of it makes: a bulk of so
// many bytes takes about as long as the smallest.
const quickBytes = 256 << 10

// lane holds the parts of chunks that others do not wait for: of a tenant that has
// sent far more than others, what is to be looked up first, and what may have to
// wait until its index is made. It is bounded by the bytes that a pipeline reads
// ahead, and safe for concurrent use.
type lane struct {
	mu     sync.Mutex
	parts  []*part
	closed bool
	more   chan struct{} // holds a token while there are parts, or it is closed
}

// part is a part of a stretch.
type part struct {
	stretch *stretch
	records []stream.Record // some of the stretch, in its order
	from    loans
	size    int
}

func newLane() *lane { return &lane{more: make(chan struct{}, 1)} }

// add puts parts behind all others.
func (l *lane) add(parts []*part) {
	if len(parts) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts = append(l.parts, parts...)
	l.wake()
}

// close says that no more come.
func (l *lane) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.wake()
}

func (l *lane) wake() {
	select {
	case l.more <- struct{}{}:
	default:
	}
}

// next waits for the first part. It returns false when there will be none any
// more, or ctx has ended.
func (l *lane) next(ctx context.Context) (first *part, ok bool) {
	for {
		select {
		case <-l.more:
		case <-ctx.Done():
			return nil, false
		}
		if first, ok = l.first(); first != nil || !ok {
			return first, ok
		}
	}
}

// first takes the first part, if there is one; ok means that there may be more.
func (l *lane) first() (first *part, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.parts) > 0 {
		first, l.parts = l.parts[0], l.parts[1:]
	}
	if len(l.parts) > 0 || l.closed {
		l.wake()
	}
	return first, first != nil || !l.closed
}

// into makes a chunk of the part.
func (p *part) into(c *chunk) {
	c.stretch, c.bytes, c.gaps, c.Priority = p.stretch, p.size, true, limiter.Yielding
	c.Records = append(c.Records, p.records...)
}

// yield takes out of a chunk those records that others in it would wait for, and
// returns them as parts of its stretch. A chunk that they are all of stays whole.
func (p *pipeline) yield(c *chunk, from *loans) []*part {
	if c.Parse(p.work.processor.Indexer) != nil { // Index says what comes of it
		return nil
	}
	s := sorting{chunk: c}
	s.look(p.work.processor.Indexer)
	s.weigh()
	for n := range c.Records {
		if !s.yields(n) {
			return s.divide(from, min(quickBytes, p.work.processor.Indexer.Limiter.State().BulkBytes))
		}
	}
	return nil
}

// sorting decides which records of a chunk yield.
type sorting struct {
	*chunk
	slow  []bool // of each index: it may have to be made
	large []bool // of each tenant: it has more than its share
}

func (s *sorting) yields(n int) bool {
	return s.isSlow(n) || s.large[s.Tenants.Of[n]]
}

func (s *sorting) isSlow(n int) bool { return s.slow[s.Indices.Of[n]] }

// look finds out which indices are not known. A record that no collector wrote has none, and is not sent.
func (s *sorting) look(known *indexing.Indexer) {
	s.slow = make([]bool, len(s.Indices.All))
	for n, name := range s.Indices.All {
		s.slow[n] = name != "" && !known.Knows(name)
	}
	if slices.ContainsFunc(s.Elsewhere, s.isSlow) && s.HasTwins() { // the look-up of the second needs the first in its chunk
		clear(s.slow)
	}
}

// weigh finds the tenants that have more than their share of quickBytes: as much
// as is left for each of those that want more than that, once all others have what
// they want (max-min fairness).
func (s *sorting) weigh() {
	size, order := make([]int, len(s.Tenants.All)), make([]int, len(s.Tenants.All))
	for n, tenant := range s.Tenants.Of {
		if !s.isSlow(n) {
			size[tenant] += indexing.Memory(s.Records[n])
		}
	}
	for n := range order {
		order[n] = n
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(size[a], size[b]) })
	s.large = make([]bool, len(size))
	left := quickBytes
	for n, tenant := range order {
		if size[tenant] > left/(len(order)-n) {
			for _, larger := range order[n:] {
				s.large[larger] = true
			}
			return
		}
		left -= size[tenant]
	}
}

// divide moves the records that yield from the chunk into parts of about so many
// bytes; those whose index may have to be made get parts of their own.
func (s *sorting) divide(from *loans, size int) (parts []*part) {
	var open [2]*part // of the slow ones, and of the others
	lenders, stay := from.lenders(), s.Records[:0]
	*from = (*from)[:0]
	s.bytes = 0
	for n, r := range s.Records {
		if !s.yields(n) {
			stay, s.bytes = append(stay, r), s.bytes+indexing.Memory(r)
			from.add(lenders[n])
			continue
		}
		which := &open[0]
		if !s.isSlow(n) {
			which = &open[1]
		}
		if *which == nil || (*which).size >= size {
			*which = &part{stretch: s.stretch}
			parts = append(parts, *which)
		}
		(*which).add(r, lenders[n])
	}
	if s.gaps = len(parts) > 0; s.gaps {
		s.Keep(stay)
	}
	return parts
}

func (p *part) add(r stream.Record, from *loan) {
	p.records, p.size = append(p.records, r), p.size+indexing.Memory(r)
	p.from.add(from)
}

// lenders are the loans in which the records of a chunk lie, one for each.
func (l loans) lenders() (each []*loan) {
	for _, of := range l {
		for range of.records {
			each = append(each, of.loan)
		}
	}
	return each
}
