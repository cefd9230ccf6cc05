package main

import (
	"math"
	"testing"
)

func TestPairsBoundWhatOneCostsMore(t *testing.T) {
	t.Parallel()
	// By hand: mean 1.02, deviation 0.01, t of two degrees of freedom 2.92: 0.02 + 2.92 * 0.01 / sqrt(3).
	mean, bound := pair(spread{10.1, 20.4, 3.09}, spread{10, 20, 3}).percent()
	if math.Abs(mean-2) > 1e-9 || math.Abs(bound-(2+2.92/math.Sqrt(3))) > 1e-9 {
		t.Errorf("%v %% on average, at most %v %%", mean, bound)
	}
	if _, least, most := pair(spread{10.1, 20.4, 3.09}, spread{10, 20, 3}).bounds(); math.Abs(least+most-2*1.02) > 1e-9 || least >= most {
		t.Errorf("from %v to %v", least, most)
	}
	if len(t95) != mostPairs-1 || t95[10-2] != 1.833 {
		t.Errorf("for ten pairs it is %v", t95[10-2])
	}
}
