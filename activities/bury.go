package activities

import (
	"cmp"
	"context"
	"log/slog"
	"slices"

	"go.temporal.io/sdk/activity"

	"millrace/internal/index"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// What a settler may have to wait for, as operators read it.
const (
	reading     = "read the shard"
	indexing    = "index"
	burying     = "write to the ledger and the dead-letter queue"
	handingOver = "start a ProcessBatch"
)

// Dead is a run of neighbouring records that will not be indexed as they are.
// That they are neighbours makes the range say exactly which they are: whoever
// finds a ledger entry of that range knows that it holds the same records.
type Dead struct {
	Range   telemetry.Range
	Records []stream.Record
	Causes  []index.Error // one for each record
}

// Burier writes the dead into the ledger, with the reason and the payload of
// each record, and then sends a message about them to the dead-letter queue.
// To bury them again changes nothing but that there may be two messages.
type Burier interface {
	Bury(ctx context.Context, dead []Dead) error
	// BuryRange is for records that the stream has lost: there is no payload.
	BuryRange(ctx context.Context, r telemetry.Range, cause index.Error) error
}

// bury writes the dead of a chunk into the ledger and the dead-letter queue.
func (s *settler) bury(c *chunk) bool {
	anew, ok := s.unburied(c)
	if !ok {
		return false
	}
	if len(anew) == 0 {
		c.counts.DeadLetters = int64(len(c.dead))
		return true
	}
	dead := s.runs(s.shard, c.records, anew)
	bury := func() error { return s.Morgue.Bury(s.work, dead) }
	if !insist(s.going, &s.problem, burying, bury) {
		return false
	}
	c.counts.DeadLetters = int64(len(c.dead))
	return true
}

// remember has the settler bury nothing again that is in the open ledger: what
// was left of a range is tried with all that lies between, and its dead would
// have another entry, and another letter, with other neighbours. An attempt that
// died, or was interrupted, may not have told of what it wrote, so then all is
// told of again.
func (s *settler) remember(ctx context.Context, in RangeInput) {
	if activity.GetInfo(ctx).Attempt == 1 && !in.Untold {
		s.graves = &buried{ledger: s.Ledger, stream: s.Stream}
	}
}

// unburied are the dead of a chunk that are not in the open ledger.
func (s *settler) unburied(c *chunk) (dead []verdict, known bool) {
	if s.graves == nil {
		return c.dead, true
	}
	for _, v := range c.dead {
		there, known := s.graves.given(s.insist, s.shard, c.records[v.at].Sequence)
		if !known {
			return nil, false
		}
		if !there {
			dead = append(dead, v)
		}
	}
	return dead, true
}

// runs groups records with a verdict into runs of neighbours.
func (p *Processor) runs(shard string, records []stream.Record, verdicts []verdict) []Dead {
	slices.SortFunc(verdicts, func(a, b verdict) int { return cmp.Compare(a.at, b.at) })
	var runs []Dead
	for n, v := range verdicts {
		if n == 0 || v.at != verdicts[n-1].at+1 {
			runs = append(runs, Dead{Range: p.rangeOf(shard, records[v.at:v.at+1])})
		}
		run := &runs[len(runs)-1]
		run.Records, run.Causes = append(run.Records, records[v.at]), append(run.Causes, v.cause)
		run.Range.Last, run.Range.Count = records[v.at].Sequence, len(run.Records)
	}
	return runs
}

// rangeOf points at some records that follow each other.
func (p *Processor) rangeOf(shard string, records []stream.Record) telemetry.Range {
	return telemetry.Range{
		StreamARN: p.Stream.ARN, StreamCreated: p.Stream.Created, Shard: shard,
		First: records[0].Sequence, Last: records[len(records)-1].Sequence, Count: len(records),
	}
}

// handOver starts a ProcessBatch for what nobody can decide here: for all that
// lies between the first and the last such record, since those that did end do
// no harm in it.
func (s *settler) handOver(c *chunk) bool {
	if len(c.open) == 0 {
		return true
	}
	first, last := c.open[0], c.open[0]
	for _, v := range c.open {
		if v.at < first.at {
			first = v
		}
		if v.at > last.at {
			last = v
		}
	}
	r := s.rangeOf(s.shard, c.records[first.at:last.at+1])
	slog.Warn("handing a range over to a ProcessBatch", "stream", s.Stream.Name, "shard", s.shard,
		"first", r.First, "last", r.Last, "records", len(c.open), "error", first.cause.Type)
	cause, copyAt := withoutBody(first.cause), s.copyAt(c.records[first.at])
	start := func() error { return s.Batches.StartBatch(s.work, s.Stream, r, cause, copyAt) }
	if !insist(s.going, &s.problem, handingOver, start) {
		return false
	}
	c.counts.Batches = 1
	c.counts.HandedOver = c.counts.Records - c.counts.Indexed - c.counts.Duplicates - c.counts.DeadLetters
	return true
}

// possibleLoss is the error type of a range that was trimmed unread.
const possibleLoss = "possible_loss"

// reportLoss says that records may have been trimmed before they were read, in
// the log, in the metrics, and for good in the ledger.
func (p *pipeline) reportLoss(loss *stream.Loss) bool {
	if loss == nil {
		return true
	}
	slog.Error("records may have been trimmed from the stream before they were read: look into the backup",
		"stream", p.Stream.Name, "shard", p.shard, "after", loss.After, "before", loss.Before, "from", loss.From, "to", loss.To)
	lossesReported.Inc()
	r := telemetry.Range{
		StreamARN: p.Stream.ARN, StreamCreated: p.Stream.Created, Shard: p.shard, First: loss.After, Last: loss.Before,
	}
	cause := index.Error{Type: possibleLoss, Reason: "a part of the shard may have been trimmed before it was indexed: " + loss.String()}
	bury := func() error { return p.Morgue.BuryRange(p.work, r, cause) }
	if !insist(p.going, &p.problem, burying, bury) {
		return false
	}
	// It is counted where it lies: before the records that come next.
	p.mark.end(p.mark.begin(telemetry.Checkpoint{}), Counts{Losses: 1})
	return true
}
