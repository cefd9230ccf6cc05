package activities

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"millrace/internal/index"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// RangeInput points at records that could not be indexed with the others.
type RangeInput struct {
	Stream StreamID        `json:"stream"`
	Range  telemetry.Range `json:"range"`
	// Last: what IndexRange cannot index this time goes to the ledger, with the
	// exact error, which histories do not carry.
	Last bool `json:"last,omitempty"`
	// Cause is why they go to the ledger, for BuryRange.
	Cause index.Error `json:"cause,omitzero"`
}

// RangeResult says what became of the records of a range.
type RangeResult struct {
	Counts Counts `json:"counts"`
	// Left are the parts that are neither indexed nor in the ledger.
	Left []LeftRange `json:"left,omitempty"`
}

// LeftRange is a part of a range that could not be indexed this time.
type LeftRange struct {
	Range telemetry.Range `json:"range"`
	Cause index.Error     `json:"cause"`
}

// mostLeft is the most parts that an attempt leaves; more of them are left as
// one. It bounds a ProcessBatch's state and history.
const mostLeft = 16

// trimmedRecord is the error type of a record that the stream no longer has.
const trimmedRecord = "trimmed"

// IndexRange makes one attempt at the records of a range. What is transient is
// waited out in here, for as long as it takes, and is no attempt; poison goes
// to the ledger at once; what stays undecided is left to the workflow, or after
// the last attempt goes to the ledger, too.
func (p *Processor) IndexRange(ctx context.Context, in RangeInput) (RangeResult, error) {
	s := newSettler(ctx, p, in.Range.Shard)
	defer s.abandon()
	defer s.heartbeat(ctx)()
	records, result, err := s.fetch(in)
	if err != nil || len(records) == 0 {
		return result, err
	}
	place, err := p.Limiter.Acquire(s.going, index.Live)
	if err != nil {
		return result, fmt.Errorf("index %s: %w", in.Range, err)
	}
	c := &chunk{records: records}
	if err := s.indexChunk(c, place); err != nil {
		if ctx.Err() != nil {
			return result, ctx.Err()
		}
		c.blameAll(err)
	}
	if in.Last {
		c.dead, c.open = append(c.dead, c.open...), nil
	}
	if !s.bury(c) {
		return result, ctx.Err()
	}
	if runs := p.runs(in.Range.Shard, c.records, c.open); len(runs) <= mostLeft {
		for _, run := range runs {
			result.Left = append(result.Left, LeftRange{run.Range, withoutBody(run.Causes[0])})
		}
	} else {
		first, last := c.open[0], c.open[len(c.open)-1]
		result.Left = []LeftRange{{p.rangeOf(in.Range.Shard, records[first.at:last.at+1]), withoutBody(first.cause)}}
	}
	c.counts.Records -= int64(len(c.open)) // they are still with this ProcessBatch
	c.counts.publish()
	result.Counts.Add(c.counts)
	return result, nil
}

// BuryRange writes the records of a range to the ledger and the dead-letter
// queue, all with the same cause.
func (p *Processor) BuryRange(ctx context.Context, in RangeInput) (RangeResult, error) {
	s := newSettler(ctx, p, in.Range.Shard)
	defer s.abandon()
	defer s.heartbeat(ctx)()
	records, result, err := s.fetch(in)
	if err != nil || len(records) == 0 {
		return result, err
	}
	c := &chunk{records: records, counts: Counts{Records: int64(len(records))}}
	for i := range records {
		c.dead = append(c.dead, verdict{i, in.Cause})
	}
	if !s.bury(c) {
		return result, ctx.Err()
	}
	c.counts.publish()
	result.Counts.Add(c.counts)
	return result, nil
}

// fetch returns the records of a range. Those that the stream has no longer
// are entered in the ledger, without their payload, since nobody has it.
func (s *settler) fetch(in RangeInput) ([]stream.Record, RangeResult, error) {
	if err := s.serves(in.Stream); err != nil {
		return nil, RangeResult{}, err
	}
	var records []stream.Record
	fetch := func() (err error) {
		records, err = s.Source.Fetch(s.going, in.Range)
		return err
	}
	if !insist(s.going, &s.problem, reading, fetch) {
		return nil, RangeResult{}, errStopped
	}
	missing := in.Range.Count - len(records)
	if missing <= 0 {
		return records, RangeResult{}, nil
	}
	trimmed := in.Range
	trimmed.Count = missing
	if len(records) > 0 {
		trimmed.Last = records[0].Sequence // the front of a stream is trimmed
	}
	cause := index.Error{Type: trimmedRecord, Reason: "no longer in the stream when its ProcessBatch fetched it: look into the backup"}
	bury := func() error { return s.Morgue.BuryRange(s.work, trimmed, cause) }
	if !insist(s.going, &s.problem, burying, bury) {
		return nil, RangeResult{}, errStopped
	}
	lossesReported.Inc()
	return records, RangeResult{Counts: Counts{Records: int64(missing), DeadLetters: int64(missing), Losses: 1}}, nil
}

// heartbeat says that the activity lives, until the function that it returns
// is called, and stops the settler when the activity is canceled.
func (s *settler) heartbeat(ctx context.Context) (end func()) {
	unhook := context.AfterFunc(ctx, func() { s.stop(ctx.Err()) })
	done := keepAlive(ctx, func() any {
		_, lastError := s.problem.state()
		return lastError
	})
	return func() {
		unhook()
		done()
	}
}

// keepAlive sends heartbeats with these details until the function that it
// returns is called.
func keepAlive(ctx context.Context, details func() any) (end func()) {
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(heartbeatEvery)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done(): // the SDK sends none any more
				return
			case <-ticker.C:
				activity.RecordHeartbeat(ctx, details())
			}
		}
	}()
	return func() { close(done) }
}
