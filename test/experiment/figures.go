package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"millrace/test/experiment/lambda"
	"millrace/test/kit/audit"
)

// point is what one record took.
type point struct {
	received time.Duration // since the load began
	delay    time.Duration // from received to saved, or its age at the end
}

// outcome is of one run.
type outcome struct {
	traffic     *traffic
	begin, last time.Time // of the load, of what was saved
	points      []point   // of every record that is not poison

	accepted, bad, saved, unfinished uint64

	stats   lambda.Stats
	audited audit.Report // of Millrace
}

func (o outcome) delays() delays {
	var d delays
	for _, p := range o.points {
		d = append(d, p.delay)
	}
	slices.Sort(d)
	return d
}

// result is of all runs of a contender.
type result struct {
	contender string
	runs      []outcome
}

func (r *result) delays() delays {
	var d delays
	for _, one := range r.runs {
		d = append(d, one.delays()...)
	}
	slices.Sort(d)
	return d
}

// sum adds up a number of the runs.
func (r *result) sum(number func(outcome) uint64) (total uint64) {
	for _, one := range r.runs {
		total += number(one)
	}
	return total
}

// rate is records saved a second, from the beginning of the load to the last
// of them.
func (r *result) rate() float64 {
	took := time.Duration(0)
	for _, one := range r.runs {
		took += one.last.Sub(one.begin)
	}
	return float64(r.sum(func(o outcome) uint64 { return o.saved })) / took.Seconds()
}

// lost counts accepted records that are nowhere; the error says so.
func (r *result) lost() (lost uint64, err error) {
	for i, one := range r.runs {
		lost += one.audited.Lost
		if wrong := one.audited.Clean(); wrong != nil {
			err = errors.Join(err, fmt.Errorf("run %d of %s: %w", i+1, r.contender, wrong))
		}
		if dead, bad := one.audited.DeadLettered, one.audited.Bad; dead != bad {
			err = errors.Join(err, fmt.Errorf("run %d of %s: %d bad records, %d dead-lettered", i+1, r.contender, bad, dead))
		}
	}
	return lost, err
}

// delays are in order.
type delays []time.Duration

func (d delays) average() time.Duration {
	if len(d) == 0 {
		return 0
	}
	sum := time.Duration(0)
	for _, one := range d {
		sum += one
	}
	return (sum / time.Duration(len(d))).Round(time.Millisecond)
}

// quantile is what a share q of all does not exceed.
func (d delays) quantile(q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	return d[max(0, int(math.Ceil(q*float64(len(d))))-1)].Round(time.Millisecond)
}

// ratio of two durations, to two digits behind the point.
func ratio(a, b time.Duration) float64 {
	return math.Round(100*float64(a)/float64(b)) / 100
}
