package indexing

import (
	"math/rand/v2"
	"slices"

	"millrace/internal/circuit"
	"millrace/internal/longcall"
)

const (
	// BisectPieces is in how many pieces it is tried again what was refused as a
	// whole; each of them that is refused, again, down to single records.
	BisectPieces = 16
	// BisectSample is how many records are tried alone, at the most, when so
	// many are in refused pieces that the circuit would open: a few that are bad
	// in each piece are no bad deployment. With 30 % bad ones one sample in 200
	// says that most are.
	BisectSample = 32
	// BisectMost bounds the requests for one chunk: they are enough to find each
	// of 1 % bad records among 8,000. The rest is for a ProcessBatch.
	BisectMost = 2000
)

// bisection is Bisect at work on one chunk.
type bisection struct {
	run   *Run
	c     *Chunk
	tries int // so far
}

// Bisect looks closer at what was refused as a whole: before the circuit
// judges, since one record in a hundred is no bad deployment; and so that its
// neighbours are indexed at once. When most of a sample are bad it gives up: it
// is no single record. It fails when the call was stopped.
func (s *Run) Bisect(c *Chunk) error {
	whole := c.Unattributed()
	if len(whole) == 0 {
		return nil
	}
	c.Open = slices.DeleteFunc(c.Open, func(v Verdict) bool { return v.Whole })
	// By tenant, so that one's poison keeps no other's records from the index.
	slices.SortStableFunc(whole, c.byTenant)
	n := &bisection{run: s, c: c}
	refused, _, err := n.tryPieces(whole)
	if err != nil {
		return err
	}
	suspects := slices.Concat(refused...)
	if float64(len(suspects)) > circuit.MostBad*float64(len(c.Records)) {
		if suspects, err = n.trySample(suspects); err != nil {
			return err
		}
		if 1-c.acquitted > circuit.MostBad {
			return n.leave(suspects, sizeOfPieces(len(whole)))
		}
	}
	for piece := range slices.Chunk(suspects, sizeOfPieces(len(whole))) {
		if err := n.closer(piece); err != nil {
			return err
		}
	}
	return nil
}

// leave leaves suspects as they are, which are most of the chunk. It looks closer only
// at pieces that hold records of a tenant most of whose records are no suspects: those
// stand beside another tenant's, and would wait in a ProcessBatch for its poison.
func (n *bisection) leave(suspects []Verdict, size int) error {
	all, suspected := make([]int, len(n.c.Tenants.All)), make([]int, len(n.c.Tenants.All))
	for _, tenant := range n.c.Tenants.Of {
		all[tenant]++
	}
	for _, v := range suspects {
		suspected[n.c.Tenants.Of[v.At]]++
	}
	isNeighbour := func(v Verdict) bool { return 2*suspected[n.c.Tenants.Of[v.At]] < all[n.c.Tenants.Of[v.At]] }
	for piece := range slices.Chunk(suspects, size) {
		if !slices.ContainsFunc(piece, isNeighbour) {
			n.c.Open = append(n.c.Open, piece...)
		} else if err := n.closer(piece); err != nil {
			return err
		}
	}
	return nil
}

func sizeOfPieces(records int) int { return (records + BisectPieces - 1) / BisectPieces }

// closer tries a refused piece in smaller ones. When all of those are refused,
// too, or it has cost enough, they are left as they are.
func (n *bisection) closer(piece []Verdict) error {
	if n.tries >= BisectMost {
		n.c.Open = append(n.c.Open, piece...)
		return nil
	}
	refused, tried, err := n.tryPieces(piece)
	if err != nil {
		return err
	}
	for _, smaller := range refused {
		if len(refused) == tried {
			n.c.Open = append(n.c.Open, smaller...)
		} else if err := n.closer(smaller); err != nil {
			return err
		}
	}
	return nil
}

// tryPieces sends records in pieces, and returns those pieces that are refused
// as a whole.
func (n *bisection) tryPieces(of []Verdict) (refused [][]Verdict, tried int, err error) {
	for piece := range slices.Chunk(of, sizeOfPieces(len(of))) {
		left, err := n.tryPiece(piece)
		if err != nil {
			return nil, tried, err
		}
		tried++
		if len(left) == len(piece) && left[0].Whole {
			refused = append(refused, left)
		} else {
			n.c.Open = append(n.c.Open, left...)
		}
	}
	return refused, tried, nil
}

// trySample sends some records alone, one at random of each stretch, enters
// which share of them is not to blame, and returns the others.
func (n *bisection) trySample(of []Verdict) (others []Verdict, err error) {
	tried, bad := 0, len(n.c.Dead)+len(n.c.Open)
	for stretch := range slices.Chunk(of, (len(of)+BisectSample-1)/BisectSample) {
		at := rand.N(len(stretch))
		left, err := n.tryPiece(stretch[at : at+1])
		if err != nil {
			return nil, err
		}
		tried++
		n.c.Open = append(n.c.Open, left...)
		others = append(append(others, stretch[:at]...), stretch[at+1:]...)
	}
	bad = len(n.c.Dead) + len(n.c.Open) - bad
	n.c.acquitted = 1 - float64(bad)/float64(tried)
	return others, nil
}

// tryPiece sends some records of the chunk separately, and returns those without
// an outcome.
func (n *bisection) tryPiece(of []Verdict) (left []Verdict, err error) {
	n.tries++
	piece := n.c.part(of)
	place, err := n.run.Place(piece.Priority)
	if err != nil {
		return nil, longcall.ErrStopped
	}
	if err := n.run.Index(piece, place); err != nil {
		return nil, err
	}
	return n.c.absorb(piece, of), nil
}
