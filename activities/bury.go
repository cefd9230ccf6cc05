package activities

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// What a settler may have to wait for, as operators read it.
const (
	reading     = "read the shard"
	lookingBack = "look for documents of earlier posts"
	indexing    = "index"
	burying     = "write to the ledger and the dead-letter queue"
	handingOver = "start a ProcessBatch"

	startingDrain = "start a DrainIndex"
)

// Dead is a run of neighbouring records that will not be indexed as they are.
// That they are neighbours makes the range say exactly which they are: a
// ledger entry of that range holds the same records.
type Dead struct {
	Range   telemetry.Range
	Records []stream.Record
	Causes  []outcome.Error // one for each record
	// Sparse: there are other records between them, so only the list says which
	// they are.
	Sparse bool
	// Parked names the index that is out of service, if they only wait for that.
	Parked string
}

// mostRuns is how many entries the dead of one chunk may have. More of them go
// into a sparse one: a chunk in which every other record is dead would flood the
// ledger.
const mostRuns = 8

// Burier writes the dead into the ledger, with the reason and the payload of
// each record, and then sends a message about them to the dead-letter queue.
// To bury them again changes nothing but that there may be two messages.
type Burier interface {
	Bury(ctx context.Context, dead []Dead) error
	// BuryRange is for records that the stream has lost: there is no payload.
	BuryRange(ctx context.Context, r telemetry.Range, cause outcome.Error) error
}

// bury writes the dead of a chunk into the ledger and the dead-letter queue.
func (s *settler) bury(c *chunk) bool {
	anew, ok := s.unburied(c)
	if !ok {
		return false
	}
	c.counts.DeadLetters, c.counts.Parked = int64(len(c.dead)+len(c.aside)+len(c.parked)), int64(len(c.parked))
	if len(anew) == 0 {
		return true
	}
	dead := s.runs(s.shard, c.records, anew)
	if len(dead) > mostRuns || c.gaps {
		dead = s.sparse(s.shard, c.records, anew)
	}
	bury := func() error { return s.Morgue.Bury(s.work, dead) }
	return longcall.Retry(s.going, &s.problem, burying, bury)
}

// remember has the settler bury nothing again that is in the open ledger: what
// was left of a range is tried with all that lies between, and its dead would
// have another entry, and another letter, with other neighbours. An attempt that
// died, or was interrupted, may not have reported what it wrote, so then
// everything is reported again.
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

// sparse puts records with a verdict together, whatever lies between them, within
// the bounds of an entry.
func (p *Processor) sparse(shard string, records []stream.Record, verdicts []verdict) (all []Dead) {
	slices.SortFunc(verdicts, func(a, b verdict) int { return cmp.Compare(a.at, b.at) })
	bytes := 0
	for _, v := range verdicts {
		r := records[v.at]
		if bytes += len(r.Data); len(all) == 0 || bytes > entryBytes {
			all, bytes = append(all, Dead{Range: p.rangeOf(shard, records[v.at:v.at+1]), Sparse: true}), len(r.Data)
		}
		d := &all[len(all)-1]
		d.Records, d.Causes = append(d.Records, r), append(d.Causes, v.cause)
		d.Range.Last, d.Range.Count = r.Sequence, len(d.Records)
	}
	return all
}

// rangeOf points at some records that follow each other.
func (p *Processor) rangeOf(shard string, records []stream.Record) telemetry.Range {
	return telemetry.Range{
		StreamARN: p.Stream.ARN, StreamCreated: p.Stream.Created, Shard: shard,
		First: records[0].Sequence, Last: records[len(records)-1].Sequence, Count: len(records),
	}
}

// handOver starts a ProcessBatch for records in doubt: for all that
// lies between the first and the last such record, since those that did end do
// no harm in it.
func (s *settler) handOver(c *chunk) bool {
	if len(c.open) == 0 {
		return true
	}
	h := s.handOverOf(c)
	if !s.start(h) {
		return false
	}
	c.counts.Batches = 1
	return true
}

// handover is what a ProcessBatch is to be started with.
type handover struct {
	telemetry.Range
	records int // without an outcome
	cause   outcome.Error
	copyAt  time.Time
}

// handOverOf is what a chunk has for a ProcessBatch.
func (s *settler) handOverOf(c *chunk) handover {
	first, last := c.open[0], c.open[0]
	for _, v := range c.open {
		if v.at < first.at {
			first = v
		}
		if v.at > last.at {
			last = v
		}
	}
	c.counts.HandedOver = c.counts.Records - c.counts.Indexed - c.counts.Earlier() - c.counts.DeadLetters
	return handover{
		Range: s.rangeOf(s.shard, c.records[first.at:last.at+1]), records: len(c.open),
		cause: first.cause.Redacted(), copyAt: s.copyAt(c.records[first.at]),
	}
}

// start starts a ProcessBatch.
func (s *settler) start(h handover) bool {
	slog.Warn("handing a range over to a ProcessBatch", "stream", s.Stream.Name, "shard", s.shard,
		"first", h.First, "last", h.Last, "records", h.records, "error", h.cause.Type)
	start := func() error { return s.Batches.StartBatch(s.work, s.Stream, h.Range, h.cause, h.copyAt) }
	return longcall.Retry(s.going, &s.problem, handingOver, start)
}

// merge adds what comes before or after it in the shard, whatever lies between.
func (h *handover) merge(o handover) {
	if h.records == 0 {
		*h = o
		return
	}
	if telemetry.CompareSequence(o.First, h.First) < 0 {
		h.First, h.cause = o.First, o.cause
	}
	if telemetry.CompareSequence(o.Last, h.Last) > 0 {
		h.Last = o.Last
	}
	if o.copyAt.Before(h.copyAt) {
		h.copyAt = o.copyAt
	}
	// What lies between is not counted: the stream must have so many at the least.
	h.Count, h.records = h.Count+o.Count, h.records+o.records
}

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
	cause := outcome.Error{Type: outcome.TypePossibleLoss, Reason: "a part of the shard may have been trimmed before it was indexed: " + loss.String()}
	bury := func() error { return p.Morgue.BuryRange(p.work, r, cause) }
	if !longcall.Retry(p.going, &p.problem, burying, bury) {
		return false
	}
	// It is counted where it lies: before the records that come next.
	p.mark.end(p.mark.begin(telemetry.Checkpoint{}), Counts{Losses: 1})
	return true
}
