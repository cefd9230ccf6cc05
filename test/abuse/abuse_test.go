package main

import (
	"math"
	"strings"
	"testing"
)

func TestCheckNamesEachMissedBound(t *testing.T) {
	t.Parallel()
	good := result{HonestAccepted: 1, HonestP99Ratio: mostRatio, CollectorPeakMiB: mostMiB, IndicesMade: mostIndices}
	if err := good.check(); err != nil {
		t.Errorf("what is within the bounds gives %v", err)
	}
	for want, spoil := range map[string]func(*result){
		"nothing of the honest tenant": func(r *result) { r.HonestAccepted = 0 },
		"records of the honest tenant": func(r *result) { r.HonestLost = 1 },
		"p99 is 2.01 times":            func(r *result) { r.HonestP99Ratio = 2.01 },
		"p99 is 0.00 times":            func(r *result) { r.HonestP99Ratio = 0 },
		"p99 is NaN times":             func(r *result) { r.HonestP99Ratio = math.NaN() },
		"no 2xx":                       func(r *result) { r.HonestErrors = 1 },
		"601 MiB":                      func(r *result) { r.CollectorPeakMiB = 601 },
		"141 indices":                  func(r *result) { r.IndicesMade = 141 },
		"shards wait":                  func(r *result) { r.ShardsWaiting = 1 },
	} {
		r := good
		spoil(&r)
		if err := r.check(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v gives %v, want %q alone", r, err, want)
		}
	}
}
