package main

import (
	"testing"
	"time"
)

// mixFor is how long faults are mixed in the tests. For hours:
// ./task faults -- --mix 2h.
const mixFor = 2 * time.Minute

// Everything fails at random, several things at a time, and nothing is lost.
func TestMixOfFaultsLosesNothing(t *testing.T) {
	o := options{Records: 1000, Rate: 100, Form: "pack", Patience: 4 * time.Minute, Mix: mixFor}
	if err := run(t.Context(), o); err != nil {
		t.Error(err)
	}
}
