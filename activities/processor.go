package activities

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/internal/delay"
	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Processor is what the activities of ProcessShard and ProcessBatch need.
type Processor struct {
	Stream  telemetry.StreamID
	Source  Source
	Bulk    Bulker
	Lookup  Lookup
	Limiter *limiter.Limiter // shared by all shards of the worker
	Seen    Seen             // shared by all shards of the worker
	Delay   *delay.Histogram
	Batches BatchStarter
	Morgue  Burier
	Ledger  *ledger.Ledger // for copies of what a ProcessBatch still holds
	Limits  ProcessLimits
	Worker  string // identity of this worker, for operators
	// Drains starts what brings parked records home; nil: none are parked.
	Drains DrainStarter

	outOfService *outOfService // shared by all shards of the worker
	known        *knownIndices // likewise
	comparing    *comparing    // likewise; nil: nothing is compared
}

// NewProcessor completes the limits of a processor.
func NewProcessor(p Processor) *Processor {
	p.Limits, p.outOfService, p.known = p.Limits.withDefaults(), &outOfService{}, &knownIndices{}
	p.comparing = newComparing(p.Limits.CompareRate)
	return &p
}

// Reader reads one shard from where it was opened. Next waits for its turn and
// returns an empty page while the shard is idle; after an error it can be
// called again. See stream.Reader.
type Reader interface {
	Next(ctx context.Context) (stream.Page, error)
	Close()
}

// Source opens what a shard holds.
type Source interface {
	// Read begins behind a checkpoint. It makes no call.
	Read(shard string, from telemetry.Checkpoint) Reader
	// Fetch returns the records of a range that the stream still has.
	Fetch(ctx context.Context, r telemetry.Range) ([]stream.Record, error)
	// CurrentRetention is how long the stream keeps a record; zero if that is
	// not known.
	CurrentRetention(ctx context.Context) time.Duration
}

// Bulker sends a bulk once and says what became of each document. See
// index.Client.
type Bulker interface {
	Do(ctx context.Context, b *sink.Bulk) sink.Result
}

// Seen remembers which documents are indexed, and 32 bits of the digest of each,
// zero where that is not known. See dedup.Cache.
type Seen interface {
	Seen(id telemetry.DocID) (digest uint32, seen bool)
	Mark(generation uint64, id telemetry.DocID, digest uint32)
	Generation() uint64
	Raise(generation uint64)
}

// BatchStarter starts the ProcessBatch workflow of a range. That it runs
// already is success. At copyAt it copies to the ledger what it still holds.
type BatchStarter interface {
	StartBatch(ctx context.Context, stream telemetry.StreamID, r telemetry.Range, cause outcome.Error, copyAt time.Time) error
}

// ProcessLimits bound what one shard may use of a worker. A zero field takes
// its default.
type ProcessLimits struct {
	BulksPerShard int           `help:"Maximum bulk requests in flight for one shard." default:"4" env:"MILLRACE_BULKS_PER_SHARD"`
	BulkRecords   int           `help:"Maximum records of one bulk request." default:"8000" env:"MILLRACE_BULK_RECORDS"`
	PrefetchBytes int           `help:"Maximum bytes of one shard that are read and not yet indexed." default:"8388608" env:"MILLRACE_PREFETCH_BYTES"`
	WaitingAfter  time.Duration `help:"How long a shard may make no progress before its state is waiting." default:"20s" env:"MILLRACE_WAITING_AFTER"`
	DrainTimeout  time.Duration `help:"How long a shard that pauses or moves waits for its requests in flight." default:"10s" env:"MILLRACE_DRAIN_TIMEOUT"`
	ParkAfter     time.Duration `help:"How long records wait for an index that alone is closed or blocked for writes, before they are parked in the ledger." default:"30s" env:"MILLRACE_PARK_AFTER"`
	CompareRate   int           `help:"Resent records a second to compare with their documents; more are counted as unchecked." default:"1000" env:"MILLRACE_COMPARE_RATE"`
	CopyAfter     time.Duration `help:"Age at which records that a ProcessBatch still holds are copied to the ledger; 0: half of the stream's retention." default:"0s" env:"MILLRACE_COPY_AFTER"`
}

// Defaults of ProcessLimits.
const (
	DefaultBulksPerShard = 4
	DefaultBulkRecords   = sink.DefaultBulkDocuments
	DefaultPrefetchBytes = 8 << 20
	DefaultWaitingAfter  = 20 * time.Second
	// DefaultCompareRate costs Elasticsearch little beside what a worker indexes,
	// and is more than agents send again while all is well.
	DefaultCompareRate  = 1000
	DefaultDrainTimeout = 10 * time.Second
	// DefaultCopyAfter is half of the shortest retention that there is, for
	// where that of the stream is not known.
	DefaultCopyAfter = 12 * time.Hour
)

// leastPrefetch has room for four records of the largest size, so that a
// portion of a page always fits.
const leastPrefetch = 4 * (telemetry.MaxRecordSize + recordOverhead)

// Validate reports limits with which nothing would move.
func (l ProcessLimits) Validate() error {
	var errs []error
	for flag, value := range map[string]int{"bulks-per-shard": l.BulksPerShard, "bulk-records": l.BulkRecords, "prefetch-bytes": l.PrefetchBytes, "compare-rate": l.CompareRate} {
		if value < 0 {
			errs = append(errs, fmt.Errorf("--%s: %d is negative", flag, value))
		}
	}
	if l.ParkAfter < 0 {
		errs = append(errs, fmt.Errorf("--park-after: %v is negative", l.ParkAfter))
	}
	if l.CopyAfter < 0 {
		errs = append(errs, fmt.Errorf("--copy-after: %v is negative", l.CopyAfter))
	}
	return errors.Join(errs...)
}

func (l ProcessLimits) withDefaults() ProcessLimits {
	if l.BulksPerShard == 0 {
		l.BulksPerShard = DefaultBulksPerShard
	}
	if l.BulkRecords == 0 {
		l.BulkRecords = DefaultBulkRecords
	}
	if l.PrefetchBytes == 0 {
		l.PrefetchBytes = DefaultPrefetchBytes
	}
	l.PrefetchBytes = max(l.PrefetchBytes, leastPrefetch)
	if l.WaitingAfter == 0 {
		l.WaitingAfter = DefaultWaitingAfter
	}
	if l.CompareRate == 0 {
		l.CompareRate = DefaultCompareRate
	}
	if l.ParkAfter == 0 {
		l.ParkAfter = DefaultParkAfter
	}
	if l.DrainTimeout == 0 {
		l.DrainTimeout = DefaultDrainTimeout
	}
	return l
}
