package activities

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"millrace/internal/longcall"
	"millrace/internal/sink"
	"millrace/internal/telemetry"
)

// lookupTries is how often a document that alone cannot be looked up is tried,
// about half a minute: a shard of an old index that is out of service must not
// hold the stream. Then the record is indexed, and may be there twice; so it is
// at once where the index is closed, and its documents cannot be found.
const lookupTries = 10

// Lookup finds documents. See index.Client.
type Lookup interface {
	// Find reports of each document whether it is indexed, and its digest. A
	// *index.LookupError leaves the answers for all other documents.
	Find(ctx context.Context, documents []sink.Reference) ([]sink.Found, error)
}

// earlier is a record of a chunk that may stand in another index than its own.
type earlier struct {
	at int
	sink.Reference
}

// skipEarlier leaves out of the chunk's bulk what an earlier post has put into
// another index: time moves a record on from one to the next, and create meets
// only what is in its own. It fails only when the settler was stopped.
func (s *settler) skipEarlier(c *chunk) error {
	if len(c.earlier) == 0 {
		return nil
	}
	places := make([]sink.Reference, len(c.earlier))
	for i, e := range c.earlier {
		places[i] = e.Reference
	}
	generation, tries := s.Seen.Generation(), 0
	var found []sink.Found
	look := func() (err error) {
		found, err = s.Lookup.Find(s.work, places)
		var one *sink.LookupError
		if tries++; errors.As(err, &one) && (one.Closed || tries >= lookupTries) {
			slog.Warn("index a record without knowing whether an earlier post of it is indexed", "id", one.Document.ID, "earlier", one.Document.Index, "error", one.Cause.Type)
			lookupsGivenUp.Inc()
			return nil
		}
		return err
	}
	if !longcall.Retry(s.going, &s.problem, lookingBack, look) {
		c.stopped = append(c.stopped, c.at...)
		return longcall.ErrStopped
	}
	there := c.postedBefore()
	for i, e := range c.earlier {
		if found[i].There {
			there[e.at] = found[i].Digest
			s.Seen.Mark(generation, c.ids[e.at], found[i].Digest.Short())
		}
	}
	if len(there) == 0 {
		return nil
	}
	rest := c.at[:0]
	for _, i := range c.at {
		if digest, indexed := there[i]; indexed {
			c.meet(i, digest)
		} else {
			rest = append(rest, i)
		}
	}
	c.at = rest
	c.fill(c.at, time.Now())
	return nil
}

// postedBefore are those records of the chunk that may stand in another index and
// of which an earlier post is in the chunk, too, each with the digest of that: no
// look-up finds it yet.
func (c *chunk) postedBefore() map[int]telemetry.Digest {
	first := make(map[telemetry.DocID]int, len(c.at))
	for _, i := range c.at {
		if _, known := first[c.ids[i]]; !known {
			first[c.ids[i]] = i
		}
	}
	before := map[int]telemetry.Digest{}
	for _, e := range c.earlier {
		if at := first[c.ids[e.at]]; at != e.at {
			before[e.at] = c.digests[at]
		}
	}
	return before
}
