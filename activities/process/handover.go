package process

import (
	"context"
	"log/slog"
	"time"

	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// batches starts the ProcessBatch workflows of a shard.
type batches struct {
	starter   BatchStarter
	call      *longcall.Call
	stream    telemetry.StreamID
	shard     string
	copyAfter func(ctx context.Context) time.Duration
}

// handOver starts a ProcessBatch for records in doubt: for all that
// lies between the first and the last such record, since those that did end do
// no harm in it.
func (b *batches) handOver(c *chunk) bool {
	if len(c.Open) == 0 {
		return true
	}
	h := b.handoverOf(c)
	if !b.start(h) {
		return false
	}
	c.Counts.Batches = 1
	return true
}

// handover is what a ProcessBatch is to be started with.
type handover struct {
	telemetry.Range
	records int // without an outcome
	cause   outcome.Error
	copyAt  time.Time
}

// handoverOf is what a chunk has for a ProcessBatch.
func (b *batches) handoverOf(c *chunk) handover {
	first, last := c.Open[0], c.Open[0]
	for _, v := range c.Open {
		if v.At < first.At {
			first = v
		}
		if v.At > last.At {
			last = v
		}
	}
	c.Counts.HandedOver = c.Counts.Records - c.Counts.Indexed - c.Counts.Earlier() - c.Counts.DeadLetters
	return handover{
		Range: rangeOf(b.stream, b.shard, c.Records[first.At:last.At+1]), records: len(c.Open),
		cause: first.Cause.Redacted(), copyAt: b.copyAt(c.Records[first.At]),
	}
}

// start starts a ProcessBatch.
func (b *batches) start(h handover) bool {
	slog.Warn("handing a range over to a ProcessBatch", "stream", b.stream.Name, "shard", b.shard,
		"first", h.First, "last", h.Last, "records", h.records, "error", h.cause.Type)
	start := func() error { return b.starter.StartBatch(b.call.Work, b.stream, h.Range, h.cause, h.copyAt) }
	return b.call.Retry(handingOver, start)
}

// merge adds what comes before or after it in the shard, whatever lies between.
func (h *handover) merge(o handover) {
	if h.records == 0 {
		*h = o
		return
	}
	if telemetry.ComparePositions(o.First, h.First) < 0 {
		h.First, h.cause = o.First, o.cause
	}
	if telemetry.ComparePositions(o.Last, h.Last) > 0 {
		h.Last = o.Last
	}
	if o.copyAt.Before(h.copyAt) {
		h.copyAt = o.copyAt
	}
	// What lies between is not counted: the stream must have so many at the least.
	h.Count, h.records = h.Count+o.Count, h.records+o.records
}

// copyAt is when a record that a ProcessBatch holds is copied to the ledger.
func (b *batches) copyAt(r stream.Record) time.Time {
	return r.Arrived.Add(b.copyAfter(b.call.Work))
}

// copyAfter is the age at which a record that a ProcessBatch holds is copied to the
// ledger: half of the stream's retention.
func (p *Processor) copyAfter(ctx context.Context) time.Duration {
	if p.Limits.CopyAfter > 0 {
		return p.Limits.CopyAfter
	}
	if retention := p.Source.CurrentRetention(ctx); retention > 0 {
		return retention / 2
	}
	return DefaultCopyAfter // how long the stream keeps it is unknown
}
