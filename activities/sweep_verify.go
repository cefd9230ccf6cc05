package activities

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/snapshot"
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
	for i := range c.records {
		buried, known := false, true
		if !found[i].There {
			buried, known = s.dead.given(s.insist, c.lines[i].Shard, c.lines[i].Sequence)
		}
		switch {
		case !known:
			return false
		case found[i].There:
			c.present++
			c.compare(i, found[i])
		case buried:
			c.buried++
		default:
			c.records[kept], c.lines[kept] = c.records[i], c.lines[i]
			kept++
		}
	}
	clear(c.records[kept:])
	c.records, c.lines = c.records[:kept], c.lines[:kept]
	return s.explain(c)
}

// checkAgain looks once more for what was indexed just now.
func (s *sweep) checkAgain(c *sweepChunk) bool {
	found, ok := s.lookUp(c)
	if !ok {
		return false
	}
	for i := range c.records {
		if found[i].There {
			c.compare(i, found[i])
			continue
		}
		if slices.ContainsFunc(c.dead, func(v verdict) bool { return v.at == i }) {
			continue
		}
		record, err := telemetry.Parse(c.records[i].Data)
		if err != nil {
			continue // a dead letter
		}
		c.missing = append(c.missing, Gap{
			Object: s.page[c.object].Key, Shard: c.lines[i].Shard, Sequence: c.lines[i].Sequence, ID: string(record.DocIDText),
			Index: string(record.Index) + c.suffix, Records: 1, Reason: "it was indexed again, and is not there: check whether a client deletes documents",
		})
	}
	return s.explain(c)
}

// lookUp reports which of a chunk's records are indexed, and what their documents
// say. One that no collector wrote is not.
func (s *sweep) lookUp(c *sweepChunk) (found []sink.Found, ok bool) {
	found = make([]sink.Found, len(c.records))
	var places []sink.Reference
	var at []int
	for i, r := range c.records {
		if record, err := telemetry.Parse(r.Data); err == nil {
			places, at = append(places, sink.Reference{Index: string(record.Index) + c.suffix, ID: string(record.DocIDText)}), append(at, i)
		}
	}
	look := func() error {
		place, err := s.settler.Limiter.Acquire(s.going, limiter.Recovery)
		if err != nil {
			return err
		}
		defer place(limiter.Feedback{})
		answered, err := s.documents.Find(s.work, places)
		for n, one := range answered {
			found[at[n]] = one
		}
		return err
	}
	return found, longcall.Retry(s.going, &s.problem, lookingUp, look)
}

// Swept is a record of a backup that Elasticsearch refuses.
type Swept struct {
	Sequence string
	Arrived  time.Time
	Data     []byte
	Cause    outcome.Error
}

// buryAll writes the dead of a chunk into the ledger, but for those that are
// there. It is tried once also when nothing new is to be begun: what was indexed
// of the chunk would be met again.
func (s *sweep) buryAll(c *sweepChunk) bool {
	var swept []Swept
	for _, v := range c.dead {
		r, line := c.records[v.at], c.lines[v.at]
		there, known := s.dead.holds(s.insist, line.Shard, line.Sequence)
		if !known {
			return false
		}
		if there {
			continue
		}
		swept = append(swept, Swept{Sequence: r.Sequence, Arrived: r.Arrived, Data: r.Data, Cause: v.cause})
	}
	if len(swept) == 0 {
		return true
	}
	bury := func() error { return s.Graves.BurySwept(s.work, s.plan.ID, swept) }
	return longcall.Retry(s.going, &s.problem, burying, bury)
}

// retired knows what retention has deleted: what had arrived in an index by
// then, or was received before a time, is not brought back.
type retired struct {
	bucket Bucket

	mu    sync.Mutex
	known map[string]broughtBack
}

// broughtBack says what of an index is: what arrived and was received from then on.
type broughtBack struct{ arrived, received time.Time }

func (r *retired) has(s *sweep, record telemetry.Record, arrived time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, known := r.known[string(record.Index)]
	if !known {
		name := string(record.Index)
		look := func() error {
			whole, _, err := snapshot.RetiredIndex(s.work, r.bucket, name)
			if err != nil {
				return err
			}
			part, err := snapshot.TrimmedIndex(s.work, r.bucket, name)
			from = broughtBack{arrived: whole.At, received: part.Before}
			return err
		}
		if !longcall.Retry(s.going, &s.problem, "look for what retention has deleted", look) {
			return false // the sweep is stopped, and reads this record again
		}
		r.known[name] = from
	}
	if arrived.IsZero() {
		arrived = record.ReceivedAt
	}
	return arrived.Before(from.arrived) || record.ReceivedAt.Before(from.received)
}

// BurySwept writes records of a backup into the ledger, each in an entry of its
// own, so that it has one however it comes again. batch is the recovery: an
// entry of the same record that was resolved earlier does not stand in the way.
func (m *Morgue) BurySwept(ctx context.Context, batch string, dead []Swept) error {
	entries := make([]ledger.Entry, len(dead))
	for i, d := range dead {
		record := ledger.NewRecord(d.Data, d.Cause)
		record.Sequence, record.Arrived = d.Sequence, d.Arrived
		entries[i] = ledger.Entry{Kind: ledger.Ingest, Batch: strings.ReplaceAll(batch, "/", "-"), Records: []ledger.Record{record}}
	}
	if err := m.bury(ctx, entries); err != nil {
		return fmt.Errorf("bury records of a backup: %w", err)
	}
	return nil
}
