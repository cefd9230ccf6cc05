package main

import (
	"fmt"
	"math"
)

// pairs are ratios of two runs that were made one after the other, on a machine whose
// speed changes: of what costs more than another thing.
type pairs spread

const leastPairs, mostPairs = 2, 31

// t95 are the 95 % quantiles of Student's t distribution, for 1 degree of freedom and more.
var t95 = [mostPairs - 1]float64{
	6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796, 1.782, 1.771, 1.761, 1.753,
	1.746, 1.740, 1.734, 1.729, 1.725, 1.721, 1.717, 1.714, 1.711, 1.708, 1.706, 1.703, 1.701, 1.699, 1.697,
}

// bounds returns the ratio on average, and at the least and the most with 95 % confidence (each one-sided).
func (p pairs) bounds() (mean, least, most float64) {
	for _, ratio := range p {
		mean += ratio / float64(len(p))
	}
	squares := 0.0
	for _, ratio := range p {
		squares += (ratio - mean) * (ratio - mean)
	}
	freedom := len(p) - 1
	off := t95[freedom-1] * math.Sqrt(squares/float64(freedom)/float64(len(p)))
	return mean, mean - off, mean + off
}

// percent returns by how many percent the one costs more: on average, and at the most.
func (p pairs) percent() (mean, most float64) {
	mean, _, most = p.bounds()
	return 100 * (mean - 1), 100 * (most - 1)
}

// pair makes the ratios of two contenders, run by run.
func pair(one, other spread) (p pairs) {
	for i := range one {
		p = append(p, one[i]/other[i])
	}
	return p
}

func (p pairs) String() string {
	mean, bound := p.percent()
	return fmt.Sprintf("%+.1f %% on average, at most %+.1f %% (95 %%), of %d pairs", mean, bound, len(p))
}
