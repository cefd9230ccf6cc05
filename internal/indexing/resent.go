package indexing

import (
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

// resent is a record of a chunk that may stand in another index than its own.
type resent struct {
	at int
	sink.Reference
}

// skipResent leaves out of the chunk's bulk what an earlier post has put into
// another index: time moves a record on from one to the next, and create meets
// only what is in its own. It fails only when the call was stopped.
func (s *Run) skipResent(c *Chunk) error {
	if len(c.resent) == 0 {
		return nil
	}
	places := make([]sink.Reference, len(c.resent))
	for i, e := range c.resent {
		places[i] = e.Reference
	}
	generation, tries := s.indexer.Seen.Generation(), 0
	var found []sink.Found
	look := func() (err error) {
		found, err = s.indexer.Lookup.Find(s.call.Work, places)
		var one *sink.LookupError
		if tries++; errors.As(err, &one) && (one.Closed || tries >= lookupTries) {
			slog.Warn("index a record without knowing whether an earlier post of it is indexed", "id", one.Document.ID, "earlier", one.Document.Index, "error", one.Cause.Type)
			lookupsGivenUp.Inc()
			return nil
		}
		return err
	}
	if !s.call.Retry(lookingBack, look) {
		c.Stopped = append(c.Stopped, c.at...)
		return longcall.ErrStopped
	}
	there := c.postedBefore()
	for i, e := range c.resent {
		if found[i].There {
			there[e.at] = found[i].Digest
			s.indexer.Seen.Mark(generation, c.ids[e.at], found[i].Digest.Short())
		}
	}
	if len(there) == 0 {
		return nil
	}
	rest := c.at[:0]
	for _, i := range c.at {
		if digest, indexed := there[i]; indexed {
			c.Meet(i, digest)
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
func (c *Chunk) postedBefore() map[int]telemetry.Digest {
	first := make(map[telemetry.DocID]int, len(c.at))
	for _, i := range c.at {
		if _, known := first[c.ids[i]]; !known {
			first[c.ids[i]] = i
		}
	}
	before := map[int]telemetry.Digest{}
	for _, e := range c.resent {
		if at := first[c.ids[e.at]]; at != e.at {
			before[e.at] = c.digests[at]
		}
	}
	return before
}
