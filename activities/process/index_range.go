package process

import (
	"context"
	"log/slog"
	"slices"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"millrace/internal/backoff"
	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// RangeInput points at records that could not be indexed with the others.
type RangeInput struct {
	Stream telemetry.StreamID `json:"stream"`
	Range  telemetry.Range    `json:"range"`
	// Last: what IndexRange cannot index this time goes to the ledger, with the
	// exact error, which histories do not carry.
	Last bool `json:"last,omitempty"`
	// Most bounds the parts that IndexRange may leave, beside mostLeft: there is
	// no room for more. Both halves of what cannot be attributed always fit.
	Most int `json:"most,omitempty"`
	// Untold: an attempt at these records was interrupted, which may have written
	// some to the ledger without a letter.
	Untold bool `json:"untold,omitempty"`
	// Cause is why they go to the ledger, for BuryRange.
	Cause outcome.Error `json:"cause,omitzero"`
}

// RangeResult says what became of the records of a range.
type RangeResult struct {
	Counts indexing.Counts `json:"counts"`
	// Left are the parts that are neither indexed nor in the ledger.
	Left []LeftRange `json:"left,omitempty"`
	// Untold: it was interrupted while it gave up some of the records that are left.
	Untold bool `json:"untold,omitempty"`
}

// Accounts reports whether the result says of each record of a range what became of it.
func (r RangeResult) Accounts(of telemetry.Range) bool {
	records := r.Counts.Records
	for _, left := range r.Left {
		records += int64(left.Range.Count)
	}
	return records >= int64(of.Count)
}

// LeftRange is a part of a range that could not be indexed this time.
type LeftRange struct {
	Range telemetry.Range `json:"range"`
	// Cause is none where the attempt was interrupted before there was one.
	Cause outcome.Error `json:"cause"`
	// Half: the cause cannot be attributed to one of the records. It is half of
	// what was tried, to be tried separately.
	Half bool `json:"half,omitempty"`
}

const (
	// mostLeft is the most parts that an attempt leaves; more of them are left
	// as one. It bounds what an attempt costs in a ProcessBatch's history.
	mostLeft = 16

	// bisectInside is how many records are bisected within one activity: below
	// it a tree of workflow events would cost more than it shows.
	bisectInside = 64
)

// IndexRange makes one attempt at the records of a range. It waits out transient
// errors in here, for as long as it takes, and is no attempt; poison goes
// to the ledger at once; what cannot be attributed to a record is bisected, in
// here or by the workflow, which costs no attempt either; what stays undecided
// is left to the workflow, or after the last attempt goes to the ledger, too.
// When it is canceled it ends well: what has no outcome by then is left.
func (p *Processor) IndexRange(ctx context.Context, in RangeInput) (RangeResult, error) {
	p, err := p.of(in.Stream)
	if err != nil {
		return RangeResult{}, err
	}
	w := p.uncached().begin(ctx, in.Range.Shard)
	defer w.call.Abandon()
	defer w.heartbeat(ctx)()
	records, result, err := w.fetch(in)
	if err != nil || len(records) == 0 {
		return result, err
	}
	w.remember(ctx, in)
	w.tryRange(records, in.Last, &result)
	if ctx.Err() != nil && !temporal.IsCanceledError(context.Cause(ctx)) {
		return result, ctx.Err() // the worker stops: another one begins anew, and meets what is indexed again
	}
	most := mostLeft
	if in.Most > 0 {
		most = min(most, in.Most)
	}
	if len(result.Left) > most && slices.ContainsFunc(result.Left, func(part LeftRange) bool { return !part.Half }) {
		result.Left = []LeftRange{w.merge(records, result.Left)}
	}
	return result, nil
}

// uncached is a processor that asks no cache of what is indexed: a ProcessBatch
// knows of no recovery, so the cache of a worker that has run no IndexShard since
// one knows documents that the disaster took. Each record is sent, and meets
// itself where it is there.
func (p *Processor) uncached() *Processor {
	other := *p
	other.Indexer = p.Indexer.Uncached()
	return &other
}

// remember lets nothing be given up again that is in the open ledger: what was left of a
// range is tried with all that lies between, and its dead letters would have another
// entry, and another letter, with other neighbors. An attempt that died, or was
// interrupted, may not have reported what it wrote, so then everything is reported
// again.
func (w *work) remember(ctx context.Context, in RangeInput) {
	if activity.GetInfo(ctx).Attempt == 1 && !in.Untold {
		w.deadLetters.open = deadletter.NewOpen(w.processor.Ledger, w.processor.Stream)
	}
}

// tryRange makes one attempt at neighbouring records, and enters in the result
// what became of them.
func (w *work) tryRange(records []stream.Record, last bool, result *RangeResult) {
	c := &chunk{Chunk: indexing.Chunk{Records: records}}
	w.indexOnce(c)
	whole := c.Unattributed()
	c.Open = slices.DeleteFunc(c.Open, func(v indexing.Verdict) bool { return v.Whole })
	if last {
		c.Dead, c.Open = append(c.Dead, c.Open...), nil
	}
	if !w.deadLetters.writeChunk(c) {
		c.Open, c.Dead = append(c.Open, c.Dead...), nil
		result.Untold = true
	}
	for _, at := range c.Stopped {
		c.Open = append(c.Open, indexing.Verdict{At: at})
	}
	for _, run := range w.deadLetters.runs(records, c.Open) {
		result.Left = append(result.Left, LeftRange{Range: run.Range, Cause: run.Causes[0].Redacted()})
	}
	c.Counts.Records -= int64(len(c.Open) + len(whole)) // they are still with this ProcessBatch
	publish(c.Counts)
	result.Counts.Add(c.Counts)
	if len(whole) > 0 {
		w.bisect(records[whole[0].At:whole[len(whole)-1].At+1], whole[0].Cause, last, result)
	}
}

// indexOnce sends a chunk, unless the call is stopped: then all of it is as
// it was.
func (w *work) indexOnce(c *chunk) {
	if !w.call.IsStopped() {
		if place, err := w.run.Place(c.Priority); err == nil {
			_ = w.run.Index(&c.Chunk, place) // it lists the records that were stopped
			return
		}
	}
	c.Counts.Records = int64(len(c.Records))
	for at := range c.Records {
		c.Stopped = append(c.Stopped, at)
	}
}

// bisect tries both halves of records of which it is unknown which one is to
// blame, or leaves that to the workflow if they are many.
func (w *work) bisect(records []stream.Record, cause outcome.Error, last bool, result *RangeResult) {
	half := len(records) / 2
	for _, part := range [...][]stream.Record{records[:half], records[half:]} {
		if len(records) > bisectInside {
			result.Left = append(result.Left, LeftRange{Range: w.deadLetters.rangeOf(part), Cause: cause.Redacted(), Half: true})
			continue
		}
		w.tryRange(part, last, result)
	}
}

// merge makes one part of many.
func (w *work) merge(records []stream.Record, left []LeftRange) LeftRange {
	first, last := left[0].Range.First, left[0].Range.Last
	for _, part := range left {
		if telemetry.ComparePositions(part.Range.First, first) < 0 {
			first = part.Range.First
		}
		if telemetry.ComparePositions(part.Range.Last, last) > 0 {
			last = part.Range.Last
		}
	}
	from := slices.IndexFunc(records, func(r stream.Record) bool { return r.Sequence == first })
	to := slices.IndexFunc(records, func(r stream.Record) bool { return r.Sequence == last })
	return LeftRange{Range: w.deadLetters.rangeOf(records[from : to+1]), Cause: left[0].Cause}
}

// BuryRange writes the records of a range to the ledger and the dead-letter
// queue, all with the same cause, but those that are known to be indexed or
// dead letters.
func (p *Processor) BuryRange(ctx context.Context, in RangeInput) (RangeResult, error) {
	p, err := p.of(in.Stream)
	if err != nil {
		return RangeResult{}, err
	}
	w := p.begin(ctx, in.Range.Shard)
	defer w.call.Abandon()
	defer w.heartbeat(ctx)()
	records, result, err := w.fetch(in)
	if err != nil || len(records) == 0 {
		return result, err
	}
	w.remember(ctx, in)
	c := &chunk{Chunk: indexing.Chunk{Records: records, Counts: indexing.Counts{Records: int64(len(records))}}}
	there := w.indexed(records)
	for i := range records {
		if there[i].There {
			c.Meet(i, there[i].Digest)
			continue
		}
		c.Dead = append(c.Dead, indexing.Verdict{At: i, Cause: in.Cause})
	}
	if !w.deadLetters.writeChunk(c) {
		return result, ctx.Err()
	}
	w.run.NameConflicts(&c.Chunk)
	publish(c.Counts)
	result.Counts.Add(c.Counts)
	return result, nil
}

// indexed reports which of some records are indexed, and the digests of their
// documents. It asks once: where Elasticsearch does not say, a record is given up
// that may be indexed, too, which does no harm.
func (w *work) indexed(records []stream.Record) (there []sink.Found) {
	there = make([]sink.Found, len(records))
	var places []sink.Reference
	var at []int
	for i, record := range records {
		if r, err := telemetry.Parse(record.Data); err == nil {
			places, at = append(places, sink.Reference{Index: string(r.Index), ID: string(r.DocIDText)}), append(at, i)
		}
	}
	found, err := w.processor.Indexer.Lookup.Find(w.call.Going, places)
	if err != nil {
		slog.Warn("give records up without knowing whether they are indexed", "shard", w.shard, "records", len(places), "error", err)
	}
	for n, found := range found {
		there[at[n]] = found
	}
	return there
}

// fetch returns the records of a range. Those that the stream has no longer
// are in the copy that was made in time; else they are entered in the ledger,
// without their payload, which is gone.
func (w *work) fetch(in RangeInput) ([]stream.Record, RangeResult, error) {
	records, ok := w.read(in.Range)
	if !ok {
		return nil, RangeResult{}, longcall.ErrStopped
	}
	missing := in.Range.Count - len(records)
	if missing <= 0 {
		return records, RangeResult{}, nil
	}
	trimmed := in.Range
	trimmed.Count = missing
	if len(records) > 0 && telemetry.ComparePositions(records[0].Sequence, in.Range.First) != 0 {
		trimmed.Last = records[0].Sequence // the front of a stream is trimmed
	}
	cause := outcome.Error{Type: outcome.TypeTrimmed, Reason: "no longer in the stream when its ProcessBatch fetched it: look into the backup"}
	if !w.deadLetters.writeLoss(trimmed, cause) {
		return nil, RangeResult{}, longcall.ErrStopped
	}
	deadletter.Losses.Inc()
	return records, RangeResult{Counts: indexing.Counts{Records: int64(missing), DeadLetters: int64(missing), Losses: 1}}, nil
}

// shortReads is how often in a row a range must be read short until what it lacks
// counts as trimmed, three seconds or less: Kinesis may answer with a short or an
// empty page although the records are there, and what is called lost is not
// indexed any more.
const shortReads = 6

// read reads a range, and again while it is short; false if the call was
// stopped.
func (w *work) read(r telemetry.Range) (records []stream.Record, ok bool) {
	for tries, wait := 1, longcall.FirstWait; ; tries, wait = tries+1, 2*wait {
		var found []stream.Record
		fetch := func() (err error) {
			found, err = w.processor.Source.Fetch(w.call.Going, r)
			return err
		}
		if !w.call.Retry(reading, fetch) {
			return nil, false
		}
		if len(found) < r.Count {
			if found, ok = w.recall(r, found); !ok {
				return nil, false
			}
		}
		if len(found) > len(records) {
			records = found
		}
		if len(records) >= r.Count || tries == shortReads {
			return records, true
		}
		if !backoff.Wait(w.call.Going, wait) {
			return nil, false
		}
	}
}

// heartbeat says that the activity lives, until the function that it returns
// is called, and stops the call when the activity is canceled.
func (w *work) heartbeat(ctx context.Context) (end func()) {
	unhook := context.AfterFunc(ctx, func() { w.call.Stop(ctx.Err()) })
	done := longcall.Heartbeat(ctx, func() any {
		_, lastError := w.call.Stall.State()
		return lastError
	})
	return func() {
		unhook()
		done()
	}
}
