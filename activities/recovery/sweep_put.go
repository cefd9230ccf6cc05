package recovery

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/backoff"
	"millrace/internal/indexing"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
)

// putting is what a sweep may have to wait for that goes through the stream, as
// operators read it.
const (
	putting  = "put into the stream"
	followed = "wait for the shards"
)

const (
	// mostBehind is how far shards may be behind while more is put in front of
	// live records.
	mostBehind = 5 * time.Second
	// askShards is how often they are asked at the most, shardsAtOnce how many at
	// the same time.
	askShards, shardsAtOnce = 2 * time.Second, 16
)

// replays reports whether the sweep goes through the stream.
func (s *sweep) replays() bool { return s.in.Stage == SweepBackfill && s.plan.Mode == ModeIngest }

// putChunk puts the records of a chunk into the stream again, with the ids and
// times that they have. Those in the open ledger would be refused again; those that
// came home from there were not.
func (s *sweep) putChunk(c *sweepChunk) bool {
	if !s.dropDead(c) {
		return false
	}
	at := make([]int, len(c.Records))
	for i := range at {
		at[i] = i
	}
	for wait := longcall.FirstWait; len(at) > 0; wait = min(2*wait, longcall.LongestWait) {
		data := make([][]byte, len(at))
		for n, i := range at {
			data[n] = c.Records[i].Data
		}
		var again []int
		var last error
		began := time.Now()
		rejected := s.sweeper.Replayer.Replay(s.call.Work, data)
		s.worked(time.Since(began), &s.done.Pace.Record, len(data)-len(rejected))
		for _, r := range rejected {
			if r.Invalid {
				c.Dead = append(c.Dead, indexing.Verdict{At: at[r.Position], Cause: outcome.Error{Type: r.Code, Reason: r.Message}})
				continue
			}
			again, last = append(again, at[r.Position]), fmt.Errorf("%s: %s", r.Code, r.Message)
		}
		if at = again; last == nil {
			break
		}
		s.call.Stall.Set(putting, last)
		if !backoff.Wait(s.call.Going, wait) {
			return false
		}
	}
	s.call.Stall.Clear(putting)
	c.put = int64(len(c.Records) - len(c.Dead))
	return true
}

// dropDead takes out of a chunk what is in the open ledger; false if it was
// stopped before that was known.
func (s *sweep) dropDead(c *sweepChunk) bool {
	kept := 0
	for i := range c.Records {
		isDead, known := s.dead.Has(s.call, c.lines[i].Shard, c.lines[i].Sequence)
		if !known {
			return false
		}
		if isDead {
			c.deadBefore++
			continue
		}
		c.Records[kept], c.lines[kept] = c.Records[i], c.lines[i]
		kept++
	}
	clear(c.Records[kept:])
	c.Records, c.lines = c.Records[:kept], c.lines[:kept]
	return true
}

// keepUp waits until no shard is far behind; false if the sweep was stopped.
func (s *sweep) keepUp() bool {
	if !s.replays() || time.Since(s.keptUp) < askShards {
		return true
	}
	look := func() error {
		behind, err := s.sweeper.unread(s.call.Going, time.Now().Add(-mostBehind))
		if err != nil || len(behind) == 0 {
			return err
		}
		return fmt.Errorf("%d of them, such as %s, have not come to %s ago", len(behind), behind[0], mostBehind)
	}
	defer func() { s.keptUp = time.Now() }()
	return s.call.Retry(followed, look)
}

// unread returns the shards that have not processed all that came before a
// time.
func (s *Sweeper) unread(ctx context.Context, before time.Time) (behind []string, err error) {
	shards, err := s.Shards.Shards(ctx)
	if err != nil {
		return nil, err
	}
	passed := make([]bool, len(shards))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(shardsAtOnce)
	for i, shard := range shards {
		group.Go(func() error {
			at, known, err := s.Workflows.Reached(asking, s.Stream, shard.ID)
			// One that is closed takes nothing new; it may be long forgotten.
			passed[i] = known && hasPassed(at, before) || !known && shard.Last != ""
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for i, shard := range shards {
		if !passed[i] {
			behind = append(behind, shard.ID)
		}
	}
	return behind, nil
}

func hasPassed(at telemetry.Checkpoint, before time.Time) bool {
	return at.Closed || !at.ReadUpTo.Before(before)
}
