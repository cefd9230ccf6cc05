package deadletters

import (
	"millrace/internal/indexing"
	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/stream"
)

// direct writes records into the index. What is refused stays with its new
// error, and delays no other record.
func (c *reprocessing) direct(spots []spot) error {
	call := longcall.Begin(c.call.Work)
	defer call.Abandon()
	defer call.StopWith(c.call.Going)()
	run := c.Indexer.Past().Begin(call, "", limiter.Recovery)
	c.bulk.Set(call)
	defer c.bulk.Set(nil)
	records := make([]stream.Record, len(spots))
	for n, of := range spots {
		records[n] = stream.Record{Sequence: of.record().Sequence, Data: of.record().Data}
	}
	if c.in.Select.Parked != "" { // an index that is still out of service is not waited for
		run.ParkAtOnce()
	}
	all := &indexing.Chunk{Records: records}
	if err := run.Isolate(all); err != nil {
		return err
	}
	refused := make([]bool, len(spots)) // or still parked
	for _, v := range all.Parked {
		refused[v.At] = true
		c.progress.Stopped = stillOut
		c.call.Stall.Set(draining, v.Cause.Failure())
	}
	for _, v := range all.Dead {
		refused[v.At] = true
		c.refuse(spots[v.At], v.Cause)
	}
	for n, of := range spots {
		if !refused[n] {
			c.progress.Counts.Records++
			of.end(ledger.EndedIndexed)
		}
	}
	good := int64(len(spots) - len(all.Dead) - len(all.Parked))
	// Those that a part of a bisected bulk met again were indexed by this, too.
	already := min(all.Counts.Earlier(), good)
	c.progress.Counts.Indexed += good - already
	c.progress.Counts.Already += already
	return nil
}
