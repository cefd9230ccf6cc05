package recovery

import (
	"path"
	"slices"
	"time"

	"millrace/internal/deadletter"
	"millrace/internal/indexing"
	"millrace/internal/limiter"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// matches reports whether a name matches one of some patterns; without any, all
// do.
func matches(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match(pattern, name)
		return ok && err == nil
	})
}

// dropPresent takes out of a chunk what is there already, and what is in the
// open ledger.
func (s *sweep) dropPresent(c *sweepChunk) bool {
	found, ok := s.lookUp(c)
	if !ok {
		return false
	}
	kept := 0
	for i := range c.Records {
		isDead, known := false, true
		if !found[i].There {
			isDead, known = s.dead.Has(s.call, c.lines[i].Shard, c.lines[i].Sequence)
		}
		switch {
		case !known:
			return false
		case found[i].There:
			c.present++
			c.compare(i, found[i])
		case isDead:
			c.deadBefore++
		default:
			c.Records[kept], c.lines[kept] = c.Records[i], c.lines[i]
			kept++
		}
	}
	clear(c.Records[kept:])
	clear(c.lines[kept:])
	c.Records, c.lines = c.Records[:kept], c.lines[:kept]
	return s.explain(c)
}

// checkAgain looks once more for what was indexed just now.
func (s *sweep) checkAgain(c *sweepChunk) bool {
	found, ok := s.lookUp(c)
	if !ok {
		return false
	}
	for i := range c.Records {
		if found[i].There {
			c.compare(i, found[i])
			continue
		}
		if slices.ContainsFunc(c.Dead, func(v indexing.Verdict) bool { return v.At == i }) {
			continue
		}
		record, err := telemetry.Parse(c.Records[i].Data)
		if err != nil {
			continue // a dead letter
		}
		c.missing = append(c.missing, Gap{
			Object: s.page[c.object].Key, Shard: c.lines[i].Shard, Sequence: c.lines[i].Sequence, ID: string(record.DocIDText),
			Index: string(record.Index) + c.Suffix, Records: 1, Reason: "it was indexed again, and is not there: check whether a client deletes documents",
		})
	}
	return s.explain(c)
}

// lookUp reports which of a chunk's records are indexed, and what their documents
// say. One that no collector wrote is not.
func (s *sweep) lookUp(c *sweepChunk) (found []sink.Found, ok bool) {
	found = make([]sink.Found, len(c.Records))
	var places []sink.Reference
	var at []int
	for i, r := range c.Records {
		if record, err := telemetry.Parse(r.Data); err == nil {
			places, at = append(places, sink.Reference{Index: string(record.Index) + c.Suffix, ID: string(record.DocIDText)}), append(at, i)
		}
	}
	look := func() error {
		place, err := s.sweeper.Limiter.Acquire(s.call.Going, limiter.Recovery)
		if err != nil {
			return err
		}
		defer place(limiter.Feedback{})
		answered, err := s.documents.Find(s.call.Work, places)
		for n, one := range answered {
			found[at[n]] = one
		}
		return err
	}
	return found, s.call.Retry(lookingUp, look)
}

// giveUp writes the dead of a chunk into the ledger, but for those that are
// there. It is tried once also when nothing new is to be begun: what was indexed
// of the chunk would be met again.
func (s *sweep) giveUp(c *sweepChunk) bool {
	var swept []deadletter.Swept
	for _, v := range c.Dead {
		r, line := c.Records[v.At], c.lines[v.At]
		there, known := s.dead.HasOrHolds(s.call, line.Shard, line.Sequence)
		if !known {
			return false
		}
		if there {
			continue
		}
		swept = append(swept, deadletter.Swept{Sequence: r.Sequence, Arrived: r.Arrived, Data: r.Data, Cause: v.Cause})
	}
	if len(swept) == 0 {
		return true
	}
	write := func() error { return s.sweeper.DeadLetters.WriteSwept(s.call.Work, s.plan.ID, swept) }
	return s.call.Retry(deadletter.Writing, write)
}

// isDeleted reports whether retention has deleted a record; false as well where the
// sweep is stopped, and reads the record again.
func (s *sweep) isDeleted(record telemetry.Record, arrived time.Time) (gone bool) {
	look := func() (err error) {
		gone, err = s.deleted.Has(s.call.Work, record, arrived)
		return err
	}
	return s.call.Retry("look for what retention has deleted", look) && gone
}
