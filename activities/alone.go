package activities

import (
	"errors"

	"millrace/internal/longcall"
)

// indexAlone indexes the records of a chunk until each is indexed or dead: of
// what cannot be attributed to one of them both halves are tried, until it is
// alone. For those who go through records that no shard waits for, and so need
// no ProcessBatch. It fails only when the settler was stopped.
func (s *settler) indexAlone(c *chunk) error {
	place, err := s.Limiter.Acquire(s.going, s.priority)
	if err != nil {
		return longcall.ErrStopped
	}
	if err := s.indexChunk(c, place); errors.Is(err, longcall.ErrStopped) {
		return err
	} else if err != nil { // a panic
		c.blameAll(err)
	}
	whole := c.notAttributable()
	for _, v := range c.open {
		if !v.whole {
			c.dead = append(c.dead, v)
		}
	}
	c.open = nil
	for _, half := range [...][]verdict{whole[:len(whole)/2], whole[len(whole)/2:]} {
		if len(half) == 0 {
			continue
		}
		part := &chunk{suffix: c.suffix}
		for _, v := range half {
			part.records = append(part.records, c.records[v.at])
		}
		if err := s.indexAlone(part); err != nil {
			return err
		}
		for _, v := range part.parked {
			c.parked = append(c.parked, verdict{at: half[v.at].at, cause: v.cause})
		}
		c.counts.Indexed += part.counts.Indexed
		c.counts.addEarlier(part.counts)
		for _, v := range part.dead {
			c.dead = append(c.dead, verdict{at: half[v.at].at, cause: v.cause})
		}
	}
	return nil
}
