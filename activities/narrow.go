package activities

import (
	"errors"
	"slices"

	"millrace/internal/index"
	"millrace/internal/stream"
)

// narrowPieces is in how many pieces it is tried again what was refused as a
// whole; each of them that is refused, again; but when all of them are, it is
// no single record. That costs 16 or at most 240 requests more, and leaves of
// a bulk of 8,000 records thirty for each one that is to blame.
const narrowPieces = 16

// narrow looks closer at what was refused as a whole: before the circuit
// judges, since one record in a thousand is no bad deployment; and so that its
// neighbours are indexed at once. It fails when the settler was stopped.
func (s *settler) narrow(c *chunk) error {
	whole := c.notAttributable()
	if len(whole) < narrowPieces {
		return nil
	}
	size := (len(whole) + narrowPieces - 1) / narrowPieces
	tried, refused := 0, [][]verdict{}
	var found []verdict
	for piece := range slices.Chunk(whole, size) {
		left, err := s.tryPiece(c, piece)
		if err != nil {
			return err
		}
		tried++
		if len(left) == len(piece) && left[0].whole {
			refused = append(refused, left)
		} else {
			found = append(found, left...)
		}
	}
	c.open = append(slices.DeleteFunc(c.open, func(v verdict) bool { return v.whole }), found...)
	for _, piece := range refused {
		part := &chunk{open: piece, records: c.records}
		if len(refused) < tried {
			if err := s.narrow(part); err != nil {
				return err
			}
		}
		c.open, c.dead = append(c.open, part.open...), append(c.dead, part.dead...)
		c.counts.Add(part.counts)
	}
	return nil
}

// tryPiece sends some records of a chunk by themselves, and returns those of
// which is not known what becomes of them.
func (s *settler) tryPiece(c *chunk, of []verdict) (left []verdict, err error) {
	piece := &chunk{records: make([]stream.Record, len(of))}
	for i, v := range of {
		piece.records[i] = c.records[v.at]
	}
	place, err := s.Limiter.Acquire(s.going, index.Live)
	if err != nil {
		return nil, errStopped
	}
	if err := s.indexChunk(piece, place); errors.Is(err, errStopped) {
		return nil, err
	} else if err != nil { // a panic
		piece.blameAll(err)
	}
	for _, verdicts := range [...][]verdict{piece.dead, piece.open} {
		for i := range verdicts {
			verdicts[i].at = of[verdicts[i].at].at
		}
	}
	c.dead = append(c.dead, piece.dead...)
	c.counts.Indexed += piece.counts.Indexed
	c.counts.Duplicates += piece.counts.Duplicates
	return piece.open, nil
}
