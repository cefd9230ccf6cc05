package main

import (
	"context"
	"slices"
	"strconv"
	"time"

	"millrace/internal/load"
)

const (
	connections, perPost = 32, 10
	// sampleEvery is how often it is noted how far the load is.
	sampleEvery = 50 * time.Millisecond
)

// day is the timestamp of the records: no other test has their indices, and
// the same record of each run has the same id, and lies in the same shard.
var day = time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -3)

// traffic is the load of a run.
type traffic struct {
	*load.Sender
	options options
	first   uint64
	samples []sample
}

// sample is how far the load was.
type sample struct {
	at     time.Time
	posted uint64 // the number of the first record that was not yet
}

// numbersApart lie between the first records of two rounds.
const numbersApart = 1_000_000

func newTraffic(o options, name string, round int, url, key string) *traffic {
	name += "-" + strconv.Itoa(round+1)
	source := &load.Source{Run: name, Start: day, Interval: time.Millisecond, BadShare: o.Poison}
	return &traffic{options: o, first: first(round), Sender: load.NewSender(source, load.Settings{
		URL: url, Key: key, For: o.For, Rate: o.Rate, Duplicates: o.Duplicates, Connections: connections, PerPost: perPost,
		First: first(round), // which records are bad follows from their numbers
	})}
}

func first(round int) uint64 { return uint64(round+1) * numbersApart }

// run posts until the time is over.
func (t *traffic) run(ctx context.Context) error {
	ended := make(chan error, 1)
	begin := time.Now()
	go func() { ended <- t.Run(ctx) }()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for bursting := false; ; {
		select {
		case err := <-ended:
			return err
		case now := <-tick.C:
			t.samples = append(t.samples, sample{now, t.first + t.Counts().Posted})
			if in := t.options.bursts(now.Sub(begin)); in != bursting {
				bursting = in
				t.SetRate(map[bool]float64{false: t.options.Rate, true: t.options.Burst}[in])
			}
		}
	}
}

// bursts reports whether there is a burst so long after the beginning.
func (o options) bursts(after time.Duration) bool {
	return after%o.BurstEvery >= o.BurstEvery-o.BurstFor
}

// postedAt returns when a record was posted for the first time, within
// sampleEvery, and rather later than it was.
func (t *traffic) postedAt(n uint64) time.Time {
	i, _ := slices.BinarySearchFunc(t.samples, n, func(s sample, n uint64) int {
		if s.posted > n {
			return 1
		}
		return -1
	})
	if i == len(t.samples) {
		i--
	}
	return t.samples[i].at
}
