package main

import (
	"errors"
	"fmt"
)

// The bounds of a run.
const (
	// mostRatio: twice is what a tenant may notice of others on a machine that all
	// servers share with the load itself.
	mostRatio = 2
	// mostMiB is the room of all requests, 256 MiB, twice, since Go's collector
	// lets the heap double, and what the program takes without any.
	mostMiB = 600
	// mostIndices are those of seven types: ten days around now, fifteen years,
	// and undated. Names of the honest tenant's days are among them.
	mostIndices = 140
)

// result is the last line.
type result struct {
	HonestAccepted   uint64  `json:"honest_accepted"`
	HonestLost       uint64  `json:"honest_lost"`
	HonestP99Ratio   float64 `json:"honest_p99_ratio"`
	HonestErrors     uint64  `json:"honest_errors"`
	CollectorPeakMiB int64   `json:"collector_peak_mib"`
	IndicesMade      int     `json:"indices_made"`
	ShardsWaiting    int     `json:"shards_waiting"`
}

// check says which bounds were missed.
func (r result) check() error {
	var missed []error
	miss := func(is bool, format string, args ...any) {
		if is {
			missed = append(missed, fmt.Errorf(format, args...))
		}
	}
	miss(r.HonestAccepted == 0, "nothing of the honest tenant was accepted")
	miss(r.HonestLost > 0, "%d records of the honest tenant are lost", r.HonestLost)
	miss(!(r.HonestP99Ratio > 0 && r.HonestP99Ratio <= mostRatio), "the honest tenant's p99 is %.2f times that of before, more than %d", r.HonestP99Ratio, mostRatio)
	miss(r.HonestErrors > 0, "%d answers to the honest tenant were no 2xx", r.HonestErrors)
	miss(r.CollectorPeakMiB > mostMiB, "the collector took %d MiB, more than %d", r.CollectorPeakMiB, mostMiB)
	miss(r.IndicesMade > mostIndices, "%d indices were made, more than %d", r.IndicesMade, mostIndices)
	miss(r.ShardsWaiting > 0, "%d shards wait", r.ShardsWaiting)
	return errors.Join(missed...)
}
