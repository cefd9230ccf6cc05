package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/source"
	"millrace/internal/telemetry"
)

// Processor is what the activities of ProcessShard and ProcessBatch need.
type Processor struct {
	Stream      telemetry.StreamID
	Source      source.Source
	Indexer     *indexing.Indexer // shared by all shards of the worker
	Batches     BatchStarter
	DeadLetters DeadLetters
	Ledger      *ledger.Ledger // for copies of what a ProcessBatch still holds
	Limits      Limits
	Worker      string // identity of this worker, for operators
	// Drains starts what brings parked records home; nil: none are parked.
	Drains DrainStarter
}

// New completes the limits of a processor.
func New(p Processor) *Processor {
	p.Limits = p.Limits.WithDefaults()
	return &p
}

// of is a processor for a stream: also for an earlier one of the name that this
// worker reads, of which there is nothing more to be read.
func (p *Processor) of(id telemetry.StreamID) (*Processor, error) {
	if !p.Stream.IsEarlier(id) {
		return p, p.Stream.Is(id)
	}
	earlier := *p
	earlier.Stream, earlier.Source = id, source.Gone(id, p.Stream)
	return &earlier, nil
}

// work is one call for records of a shard, with what it does beside indexing.
type work struct {
	processor   *Processor
	call        *longcall.Call
	run         *indexing.Run
	shard       string
	deadLetters *deadLetters
	batches     *batches
}

// begin begins a call. The caller abandons it at last.
func (p *Processor) begin(ctx context.Context, shard string) *work {
	call := longcall.Begin(ctx)
	return &work{
		processor: p, call: call, shard: shard, run: p.Indexer.Begin(call, shard, limiter.Live),
		deadLetters: &deadLetters{writer: p.DeadLetters, call: call, stream: p.Stream, shard: shard},
		batches:     &batches{starter: p.Batches, call: call, stream: p.Stream, shard: shard, copyAfter: p.copyAfter},
	}
}

// DrainStarter starts DrainIndex, the workflow that brings home what is parked of
// an index. That it runs already is success: then it knows that there is more.
type DrainStarter interface {
	StartDrain(ctx context.Context, stream telemetry.StreamID, index string) error
}

// DeadLetters gives records up. See deadletter.Writer.
type DeadLetters interface {
	Write(ctx context.Context, groups []deadletter.Group) error
	WriteLoss(ctx context.Context, r telemetry.Range, cause outcome.Error) error
}

// BatchStarter starts the ProcessBatch workflow of a range. That it runs
// already is success. At copyAt it copies to the ledger what it still holds.
type BatchStarter interface {
	StartBatch(ctx context.Context, stream telemetry.StreamID, r telemetry.Range, cause outcome.Error, copyAt time.Time) error
}

// Limits bound what one shard may use of a worker. A zero field takes
// its default.
type Limits struct {
	BulksPerShard int           `help:"Maximum bulk requests in flight for one shard." default:"4" env:"MILLRACE_BULKS_PER_SHARD"`
	BulkRecords   int           `help:"Maximum records of one bulk request." default:"8000" env:"MILLRACE_BULK_RECORDS"`
	PrefetchBytes int           `help:"Maximum bytes of one shard that are read and not yet indexed." default:"8388608" env:"MILLRACE_PREFETCH_BYTES"`
	WaitingAfter  time.Duration `help:"How long a shard may make no progress before its state is waiting." default:"20s" env:"MILLRACE_WAITING_AFTER"`
	DrainTimeout  time.Duration `help:"How long a shard that pauses or moves waits for its requests in flight." default:"10s" env:"MILLRACE_DRAIN_TIMEOUT"`
	ParkAfter     time.Duration `help:"How long records wait for an index that alone is closed or blocked for writes, before they are parked in the ledger." default:"30s" env:"MILLRACE_PARK_AFTER"`
	CompareRate   int           `help:"Resent records a second to compare with their documents; more are counted as unchecked." default:"1000" env:"MILLRACE_COMPARE_RATE"`
	CopyAfter     time.Duration `help:"Age at which records that a ProcessBatch still holds are copied to the ledger; 0: half of the stream's retention." default:"0s" env:"MILLRACE_COPY_AFTER"`
}

// Defaults of Limits.
const (
	DefaultBulksPerShard = 4
	DefaultBulkRecords   = sink.DefaultBulkDocuments
	DefaultPrefetchBytes = 8 << 20
	DefaultWaitingAfter  = 20 * time.Second
	// DefaultCompareRate costs Elasticsearch little beside what a worker indexes,
	// and is more than agents send again while all is well.
	DefaultCompareRate  = 1000
	DefaultDrainTimeout = longcall.DefaultDrain
	// DefaultParkAfter is longer than an index takes to be opened, or moved.
	DefaultParkAfter = 30 * time.Second
	// DefaultCopyAfter is half of the shortest retention that there is, for
	// where that of the stream is not known.
	DefaultCopyAfter = 12 * time.Hour
)

// leastPrefetch has room for four records of the largest size, so that a
// portion of a page always fits.
const leastPrefetch = 4 * (telemetry.MaxRecordSize + indexing.RecordOverhead)

// Validate reports limits with which nothing would move.
func (l Limits) Validate() error {
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

// WithDefaults replaces zeros by defaults.
func (l Limits) WithDefaults() Limits {
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
