// Package lambda is what Millrace is compared with: a function that indexes
// the batches of a stream's shards, and what AWS Lambda does around it (its
// developer guide, 'Using Lambda with Kinesis'). Each shard is polled once a
// second, or at once while batches are full; a batch is handed to the function
// whole; one that fails is tried again with backoff, and nothing behind it is
// read until it ends well or has used up its retries.
//
// Reading, the documents and their ids, the bulk requests, the table of what
// an answer means, and the cache of ids are Millrace's own: nothing is slower
// here than it must be.
package lambda

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/dedup"
	"millrace/internal/index"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Settings are those of Lambda's event source mapping.
type Settings struct {
	Batch   int           `help:"Most records of a batch." default:"1000"`
	Poll    time.Duration `help:"Time from one read of a shard to the next while batches are not full." default:"1s"`
	Retries int           `help:"How often a batch that failed, or a part of it, is tried again before it is given up." default:"10"`
	Backoff time.Duration `help:"Wait before a batch is tried again for the first time. It doubles with each failure." default:"50ms"`
	Longest time.Duration `help:"Longest wait." default:"2s"`
}

// Improvements are what the seed had done to its pipeline.
type Improvements struct {
	Bisect bool `help:"Split a batch that failed in two, and try each part as a batch of its own."`
	Dedup  bool `help:"Skip records that are known to be indexed."`
}

// Validate reports settings with which nothing would move.
func (s Settings) Validate() error {
	if s.Batch < 1 || s.Batch > stream.MaxPageRecords || s.Retries < 0 || s.Poll < 0 || s.Backoff < 0 || s.Longest < s.Backoff {
		return errors.New("--batch, --poll, --retries, --backoff, --longest: a number is out of its range")
	}
	return nil
}

// Stats are what a Consumer has done so far.
type Stats struct {
	Invocations int           `json:"invocations"`
	Failed      int           `json:"failed"`      // of the invocations
	Duplicates  int           `json:"duplicates"`  // skipped
	DeadBatches int           `json:"deadBatches"` // given up: batches, or parts of them
	DeadRecords int           `json:"deadRecords"` // in them
	DeadUnsaved int           `json:"deadUnsaved"` // of those, what the function had not saved
	Blocked     time.Duration `json:"blocked"`     // longest that a shard was kept by one batch
}

// Consumer moves a stream into Elasticsearch.
type Consumer struct {
	settings Settings
	bisect   bool
	stream   *stream.Stream
	client   *index.Client
	seen     *dedup.Cache // nil without Dedup

	mu    sync.Mutex
	stats Stats
}

// New makes a consumer. Settings must be valid.
func New(settings Settings, with Improvements, source *stream.Stream, client *index.Client) *Consumer {
	c := &Consumer{settings: settings, bisect: with.Bisect, stream: source, client: client}
	if with.Dedup {
		c.seen = dedup.New(dedup.DefaultCapacity)
	}
	return c
}

// Stats returns what was done so far.
func (c *Consumer) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

func (c *Consumer) count(change func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.stats)
}

// Run consumes every shard from its beginning, until ctx ends.
func (c *Consumer) Run(ctx context.Context) error {
	shards, err := c.stream.Shards(ctx)
	if err != nil {
		return fmt.Errorf("find what to consume: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, shard := range shards {
		group.Go(func() error {
			err := c.consume(ctx, shard.ID)
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("consume shard %s: %w", shard.ID, err)
		})
	}
	return group.Wait()
}

// consume hands a shard to the function, batch by batch.
func (c *Consumer) consume(ctx context.Context, shard string) error {
	reader := c.stream.Reader(shard, telemetry.Checkpoint{})
	defer reader.Close()
	f := &function{Consumer: c}
	for {
		next := time.Now().Add(c.settings.Poll)
		page, err := reader.Next(ctx)
		if err != nil {
			return err
		}
		begin := time.Now()
		// A page is no larger than a batch: see Limit.
		if len(page.Records) > 0 {
			if err := f.deliver(ctx, page.Records, 0); err != nil {
				return err
			}
		}
		c.count(func(s *Stats) { s.Blocked = max(s.Blocked, time.Since(begin)) })
		full := len(page.Records) == c.settings.Batch
		page.Release()
		if !full {
			if err := pause(ctx, time.Until(next)); err != nil {
				return err
			}
		}
	}
}

// Limit is what stream.Settings must say, so that a page is one batch.
func (s Settings) Limit() int { return s.Batch }

// deliver invokes the function with a batch until that ends well, or until it
// has failed once more than it may be tried again. What failed as a part of a
// larger batch counts: of 1,000 records, one stands alone after ten failures.
// Backoff does not: each part is a batch of its own.
func (f *function) deliver(ctx context.Context, batch []stream.Record, failures int) error {
	for wait := f.settings.Backoff; ; wait = min(2*wait, f.settings.Longest) {
		err := f.invoke(ctx, batch)
		f.count(func(s *Stats) {
			s.Invocations++
			if err != nil {
				s.Failed++
			}
		})
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failures++; failures > f.settings.Retries {
			f.count(func(s *Stats) {
				s.DeadBatches++
				s.DeadRecords += len(batch)
				s.DeadUnsaved += f.unsaved
			})
			slog.Warn("gave up a batch", "records", len(batch), "unsaved", f.unsaved, "error", err)
			return nil
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
		if f.bisect && len(batch) > 1 {
			half := (len(batch) + 1) / 2
			if err := f.deliver(ctx, batch[:half], failures); err != nil {
				return err
			}
			return f.deliver(ctx, batch[half:], failures)
		}
	}
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
