package activities

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"millrace/internal/index"
	"millrace/internal/telemetry"
)

// lookupTries is how often a document that alone cannot be looked up is tried,
// about half a minute: a shard of an old index that is out of service must not
// hold the stream. Then the record is indexed, and may be there twice; so it is
// at once where the index is closed, and its documents cannot be found.
const lookupTries = 10

// Lookup finds documents. See index.Client.
type Lookup interface {
	// Exist reports of each document whether it is indexed. A
	// *index.LookupError leaves the answers for all other documents.
	Exist(ctx context.Context, documents []index.Reference) ([]bool, error)
}

// earlier is a record of a chunk that may stand in another index than its own.
type earlier struct {
	at int
	index.Reference
}

// skipEarlier leaves out of the chunk's bulk what an earlier post has put into
// another index: time moves a record on from one to the next, and create meets
// only what is in its own. It fails only when the settler was stopped.
func (s *settler) skipEarlier(c *chunk) error {
	if len(c.earlier) == 0 {
		return nil
	}
	places := make([]index.Reference, len(c.earlier))
	for i, e := range c.earlier {
		places[i] = e.Reference
	}
	generation, tries := s.Seen.Generation(), 0
	var found []bool
	look := func() (err error) {
		found, err = s.Lookup.Exist(s.work, places)
		var one *index.LookupError
		if tries++; errors.As(err, &one) && (one.Closed || tries >= lookupTries) {
			slog.Warn("index a record without knowing whether an earlier post of it is indexed", "id", one.Document.ID, "earlier", one.Document.Index, "error", one.Cause.Type)
			lookupsGivenUp.Inc()
			return nil
		}
		return err
	}
	if !insist(s.going, &s.problem, lookingBack, look) {
		c.stopped = append(c.stopped, c.at...)
		return errStopped
	}
	there := c.postedBefore()
	for i, e := range c.earlier {
		if found[i] {
			there[e.at] = true
			s.Seen.Mark(generation, c.ids[e.at])
		}
	}
	if len(there) == 0 {
		return nil
	}
	c.counts.Duplicates += int64(len(there))
	rest := c.at[:0]
	for _, i := range c.at {
		if !there[i] {
			rest = append(rest, i)
		}
	}
	c.at = rest
	c.fill(c.at, time.Now())
	return nil
}

// postedBefore are those records of the chunk that may stand in another index and
// of which an earlier post is in the chunk, too: no look-up finds that yet.
func (c *chunk) postedBefore() map[int]bool {
	first := make(map[telemetry.DocID]int, len(c.at))
	for _, i := range c.at {
		if _, known := first[c.ids[i]]; !known {
			first[c.ids[i]] = i
		}
	}
	before := map[int]bool{}
	for _, e := range c.earlier {
		if first[c.ids[e.at]] != e.at {
			before[e.at] = true
		}
	}
	return before
}
