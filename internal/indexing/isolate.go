package indexing

import (
	"millrace/internal/longcall"
)

// Isolate indexes the records of a chunk until each is indexed, dead or parked: of
// what cannot be attributed to one of them both halves are tried, until it is alone.
// It is for records that no shard waits for, and so need no ProcessBatch. It fails
// only when the call was stopped.
func (s *Run) Isolate(c *Chunk) error {
	place, err := s.Place(c.Priority)
	if err != nil {
		return longcall.ErrStopped
	}
	if err := s.Index(c, place); err != nil {
		return err
	}
	whole := c.Unattributed()
	for _, v := range c.Open {
		if !v.Whole {
			c.Dead = append(c.Dead, v)
		}
	}
	c.Open = nil
	for _, half := range [...][]Verdict{whole[:len(whole)/2], whole[len(whole)/2:]} {
		if len(half) == 0 {
			continue
		}
		part := c.part(half)
		if err := s.Isolate(part); err != nil {
			return err
		}
		c.absorb(part, half)
	}
	return nil
}

// part is a chunk of some records of c, to be tried separately.
func (c *Chunk) part(of []Verdict) *Chunk {
	part := &Chunk{Suffix: c.Suffix, Priority: c.Priority}
	for _, v := range of {
		part.Records = append(part.Records, c.Records[v.At])
	}
	return part
}

// absorb enters in c what became of a part of it, and returns what the part has open,
// by positions in c.
func (c *Chunk) absorb(part *Chunk, of []Verdict) (open []Verdict) {
	for _, verdicts := range [...][]Verdict{part.Dead, part.Open, part.Parked} {
		for i := range verdicts {
			verdicts[i].At = of[verdicts[i].At].At
		}
	}
	c.Dead, c.Parked = append(c.Dead, part.Dead...), append(c.Parked, part.Parked...)
	c.Counts.Indexed += part.Counts.Indexed
	c.Counts.AddEarlier(part.Counts)
	return part.Open
}
