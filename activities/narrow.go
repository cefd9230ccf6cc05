package activities

import (
	"errors"
	"math/rand/v2"
	"slices"

	"millrace/internal/longcall"
	"millrace/internal/stream"
)

const (
	// narrowPieces is in how many pieces it is tried again what was refused as a
	// whole; each of them that is refused, again, down to single records.
	narrowPieces = 16
	// narrowSample is how many records are tried alone, at the most, when so
	// many are in refused pieces that the circuit would open: a few that are bad
	// in each piece are no bad deployment. With 30 % bad ones one sample in 200
	// says that most are.
	narrowSample = 32
	// narrowMost bounds the requests for one chunk: they are enough to find each
	// of 1 % bad records among 8,000. The rest is for a ProcessBatch.
	narrowMost = 2000
)

// narrowing looks closer at one chunk.
type narrowing struct {
	*settler
	c     *chunk
	tries int // so far
}

// narrow looks closer at what was refused as a whole: before the circuit
// judges, since one record in a hundred is no bad deployment; and so that its
// neighbours are indexed at once. When most of a sample are bad it gives up: it
// is no single record. It fails when the settler was stopped.
func (s *settler) narrow(c *chunk) error {
	whole := c.notAttributable()
	if len(whole) == 0 {
		return nil
	}
	c.open = slices.DeleteFunc(c.open, func(v verdict) bool { return v.whole })
	// By tenant, so that one's poison keeps no other's records from the index.
	slices.SortStableFunc(whole, c.owners.byTenant)
	n := &narrowing{settler: s, c: c}
	refused, _, err := n.tryPieces(whole)
	if err != nil {
		return err
	}
	suspects := slices.Concat(refused...)
	if float64(len(suspects)) > circuitShare*float64(len(c.records)) {
		if suspects, err = n.trySample(suspects); err != nil {
			return err
		}
		if 1-c.acquitted > circuitShare {
			c.open = append(c.open, suspects...)
			return nil
		}
	}
	for piece := range slices.Chunk(suspects, sizeOfPieces(len(whole))) {
		if err := n.closer(piece); err != nil {
			return err
		}
	}
	return nil
}

func sizeOfPieces(records int) int { return (records + narrowPieces - 1) / narrowPieces }

// closer tries a refused piece in smaller ones. When all of those are refused,
// too, or it has cost enough, they are left as they are.
func (n *narrowing) closer(piece []verdict) error {
	if n.tries >= narrowMost {
		n.c.open = append(n.c.open, piece...)
		return nil
	}
	refused, tried, err := n.tryPieces(piece)
	if err != nil {
		return err
	}
	for _, smaller := range refused {
		if len(refused) == tried {
			n.c.open = append(n.c.open, smaller...)
		} else if err := n.closer(smaller); err != nil {
			return err
		}
	}
	return nil
}

// tryPieces sends records in pieces, and returns those pieces that are refused
// as a whole.
func (n *narrowing) tryPieces(of []verdict) (refused [][]verdict, tried int, err error) {
	for piece := range slices.Chunk(of, sizeOfPieces(len(of))) {
		left, err := n.tryPiece(piece)
		if err != nil {
			return nil, tried, err
		}
		tried++
		if len(left) == len(piece) && left[0].whole {
			refused = append(refused, left)
		} else {
			n.c.open = append(n.c.open, left...)
		}
	}
	return refused, tried, nil
}

// trySample sends some records alone, one at random of each stretch, enters
// which share of them is not to blame, and returns the others.
func (n *narrowing) trySample(of []verdict) (others []verdict, err error) {
	tried, bad := 0, len(n.c.dead)+len(n.c.open)
	for stretch := range slices.Chunk(of, (len(of)+narrowSample-1)/narrowSample) {
		at := rand.N(len(stretch))
		left, err := n.tryPiece(stretch[at : at+1])
		if err != nil {
			return nil, err
		}
		tried++
		n.c.open = append(n.c.open, left...)
		others = append(append(others, stretch[:at]...), stretch[at+1:]...)
	}
	bad = len(n.c.dead) + len(n.c.open) - bad
	n.c.acquitted = 1 - float64(bad)/float64(tried)
	return others, nil
}

// tryPiece sends some records of the chunk separately, and returns those without
// an outcome.
func (n *narrowing) tryPiece(of []verdict) (left []verdict, err error) {
	n.tries++
	piece := &chunk{records: make([]stream.Record, len(of)), priority: n.c.priority}
	for i, v := range of {
		piece.records[i] = n.c.records[v.at]
	}
	place, err := n.Limiter.Acquire(n.going, max(n.priority, piece.priority))
	if err != nil {
		return nil, longcall.ErrStopped
	}
	if err := n.indexChunk(piece, place); errors.Is(err, longcall.ErrStopped) {
		return nil, err
	} else if err != nil { // a panic
		piece.blameAll(err)
	}
	for _, verdicts := range [...][]verdict{piece.dead, piece.open, piece.parked} {
		for i := range verdicts {
			verdicts[i].at = of[verdicts[i].at].at
		}
	}
	n.c.dead, n.c.parked = append(n.c.dead, piece.dead...), append(n.c.parked, piece.parked...)
	n.c.counts.Indexed += piece.counts.Indexed
	n.c.counts.addEarlier(piece.counts)
	return piece.open, nil
}
