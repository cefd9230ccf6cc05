package process

import (
	"cmp"
	"slices"

	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// What a call may have to wait for, as operators read it.
const (
	reading       = "read the shard"
	handingOver   = "start a ProcessBatch"
	startingDrain = "start a DrainIndex"
)

// mostRuns is how many entries the dead of one chunk may have. More of them go
// into a sparse one: a chunk in which every other record is dead would flood the
// ledger.
const mostRuns = 8

// deadLetters gives up records of a shard.
type deadLetters struct {
	writer DeadLetters
	call   *longcall.Call
	stream telemetry.StreamID
	shard  string
	// open knows what an earlier attempt has given up, where there may have been
	// one; else nil.
	open *deadletter.Open
}

// writeChunk gives up the dead of a chunk. It fails when the call was stopped before
// that.
func (d *deadLetters) writeChunk(c *chunk) bool {
	anew, ok := d.unwritten(c)
	if !ok {
		return false
	}
	c.Counts.DeadLetters, c.Counts.Parked = int64(len(c.Dead)+len(c.aside)+len(c.Parked)), int64(len(c.Parked))
	if len(anew) == 0 {
		return true
	}
	groups := d.runs(c.Records, anew)
	if len(groups) > mostRuns || c.gaps {
		groups = d.sparse(c.Records, anew)
	}
	return d.write(groups)
}

// write writes groups of records. It fails when the call was stopped before that.
func (d *deadLetters) write(groups []deadletter.Group) bool {
	return d.call.Retry(deadletter.Writing, func() error { return d.writer.Write(d.call.Work, groups) })
}

// writeLoss writes that the stream has lost a range. It fails when the call was stopped
// before that.
func (d *deadLetters) writeLoss(r telemetry.Range, cause outcome.Error) bool {
	return d.call.Retry(deadletter.Writing, func() error { return d.writer.WriteLoss(d.call.Work, r, cause) })
}

// unwritten are the dead of a chunk that are not in the open ledger.
func (d *deadLetters) unwritten(c *chunk) (dead []indexing.Verdict, known bool) {
	if d.open == nil {
		return c.Dead, true
	}
	for _, v := range c.Dead {
		there, known := d.open.Has(d.call, d.shard, c.Records[v.At].Sequence)
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
func (d *deadLetters) runs(records []stream.Record, verdicts []indexing.Verdict) []deadletter.Group {
	slices.SortFunc(verdicts, func(a, b indexing.Verdict) int { return cmp.Compare(a.At, b.At) })
	var runs []deadletter.Group
	for n, v := range verdicts {
		if n == 0 || v.At != verdicts[n-1].At+1 {
			runs = append(runs, deadletter.Group{Range: d.rangeOf(records[v.At : v.At+1])})
		}
		run := &runs[len(runs)-1]
		run.Records, run.Causes = append(run.Records, records[v.At]), append(run.Causes, v.Cause)
		run.Range.Last, run.Range.Count = records[v.At].Sequence, len(run.Records)
	}
	return runs
}

// sparse puts records with a verdict together, whatever lies between them, within
// the bounds of an entry.
func (d *deadLetters) sparse(records []stream.Record, verdicts []indexing.Verdict) (all []deadletter.Group) {
	slices.SortFunc(verdicts, func(a, b indexing.Verdict) int { return cmp.Compare(a.At, b.At) })
	bytes := 0
	for _, v := range verdicts {
		r := records[v.At]
		if bytes += len(r.Data); len(all) == 0 || bytes > deadletter.EntryBytes {
			all, bytes = append(all, deadletter.Group{Range: d.rangeOf(records[v.At : v.At+1]), Sparse: true}), len(r.Data)
		}
		group := &all[len(all)-1]
		group.Records, group.Causes = append(group.Records, r), append(group.Causes, v.Cause)
		group.Range.Last, group.Range.Count = r.Sequence, len(group.Records)
	}
	return all
}

// rangeOf points at some records that follow each other.
func (d *deadLetters) rangeOf(records []stream.Record) telemetry.Range {
	return rangeOf(d.stream, d.shard, records)
}

func rangeOf(id telemetry.StreamID, shard string, records []stream.Record) telemetry.Range {
	return telemetry.Range{
		StreamARN: id.ARN, StreamCreated: id.Created, Shard: shard,
		First: records[0].Sequence, Last: records[len(records)-1].Sequence, Count: len(records),
	}
}
