package indexing

import (
	"millrace/internal/dedup"
	"millrace/internal/delay"
	"millrace/internal/limiter"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
	"millrace/internal/tracing"
)

// Indexer is what all calls of a worker share to index records.
type Indexer struct {
	Settings
	known        *knownIndices
	outOfService *outOfService
	comparing    *comparing // nil: nothing is compared
	flights      *flights
}

// Settings are the parts of an Indexer.
type Settings struct {
	Bulk    sink.Bulker
	Lookup  sink.Lookup
	Limiter *limiter.Limiter
	Seen    Seen             // nil: nothing is known to be indexed, and each record is sent
	Delay   *delay.Histogram // from received to indexed; nil: these records are old
	Tracer  *tracing.Tracer
	// CompareRate is how many records a second that are indexed already are compared
	// with their documents. More are counted as unchecked.
	CompareRate int
}

// New returns an Indexer.
func New(s Settings) *Indexer {
	return &Indexer{
		Settings: s.completed(), known: &knownIndices{}, outOfService: &outOfService{}, comparing: newComparing(s.CompareRate), flights: &flights{},
	}
}

func (s Settings) completed() Settings {
	if s.Seen == nil {
		s.Seen = unseen{}
	}
	if s.Delay == nil {
		s.Delay = delay.New()
	}
	return s
}

// Uncached returns an Indexer that asks no cache of what is indexed. A call that knows
// of no recovery needs it: the cache of its worker may know documents that a disaster
// took. Each record is sent, and meets itself where it is there.
func (x *Indexer) Uncached() *Indexer {
	other := *x
	other.Seen = unseen{}
	return &other
}

// Past returns an uncached Indexer for old records, which counts no delay and traces none.
func (x *Indexer) Past() *Indexer {
	other := x.Uncached()
	other.Delay, other.Tracer = delay.New(), nil
	return other
}

// Knows reports whether an index has answered a bulk, so that it need not be made.
func (x *Indexer) Knows(index string) bool { return x.known.has(index) }

// Seen remembers which documents are indexed, and 32 bits of the digest of each,
// zero where that is not known. See dedup.Cache.
type Seen interface {
	SeenAll(ids []telemetry.DocID, held []dedup.Held) []dedup.Held
	MarkAll(generation uint64, ids []telemetry.DocID, digests []uint32)
	Mark(generation uint64, id telemetry.DocID, digest uint32)
	Generation() uint64
	Raise(generation uint64)
}

// unseen has never seen anything.
type unseen struct{}

// SeenAll implements Seen.
func (unseen) SeenAll(ids []telemetry.DocID, held []dedup.Held) []dedup.Held {
	return append(held, make([]dedup.Held, len(ids))...)
}

// MarkAll implements Seen.
func (unseen) MarkAll(uint64, []telemetry.DocID, []uint32) {}

// Mark implements Seen.
func (unseen) Mark(uint64, telemetry.DocID, uint32) {}

// Generation implements Seen.
func (unseen) Generation() uint64 { return 0 }

// Raise implements Seen.
func (unseen) Raise(uint64) {}
