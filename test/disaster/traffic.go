package main

import (
	"context"
	"sync"
	"time"

	"millrace/internal/load"
	"millrace/test/kit/tap"
)

const (
	connections, perPost = 8, 20

	// badShare of the records belong into the ledger.
	badShare = 0.002
)

// traffic is a load with the scenario's own record of it: when each post was sent
// and answered 2xx, and when Elasticsearch first said that the record is there.
type traffic struct {
	*load.Sender
	ended chan error // of Run

	mu       sync.Mutex
	journeys []journey // by number
}

// journey is that of one record.
type journey struct{ sent, answered, saved time.Time }

func newTraffic(run string, start time.Time, settings load.Settings) *traffic {
	settings.Connections, settings.PerPost = connections, perPost
	t := &traffic{ended: make(chan error, 1), Sender: load.NewSender(
		&load.Source{Run: run, Start: start, Interval: time.Millisecond, BadShare: badShare}, settings)}
	t.Answered = func(n uint64, sent, answered time.Time) {
		t.note(n, func(j *journey) { j.sent, j.answered = sent, answered })
	}
	return t
}

// start posts until the records are all posted, or it is stopped.
func (t *traffic) start(ctx context.Context) {
	go func() { t.ended <- t.Run(ctx) }()
}

func (t *traffic) note(n uint64, what func(*journey)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for uint64(len(t.journeys)) <= n {
		t.journeys = append(t.journeys, journey{})
	}
	what(&t.journeys[n])
}

// saved takes what the tap saw, if it is a record of this load.
func (t *traffic) saved(s tap.Saved) {
	if n, ours := t.Source.Number(s.ID); ours {
		t.note(n, func(j *journey) {
			if j.saved.IsZero() {
				j.saved = s.At
			}
		})
	}
}

// each passes the journeys of the good records that were accepted.
func (t *traffic) each(do func(n uint64, j journey)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, j := range t.journeys {
		if !j.answered.IsZero() && !t.Source.Bad(uint64(n)) {
			do(uint64(n), j)
		}
	}
}

// unsaved counts those that Elasticsearch has not been seen to have.
func (t *traffic) unsaved() (n int) {
	t.each(func(_ uint64, j journey) {
		if j.saved.IsZero() {
			n++
		}
	})
	return n
}

// savedBy counts those that were there at a time, of one type or of all.
func (t *traffic) savedBy(at time.Time, kind string) (count int) {
	t.each(func(n uint64, j journey) {
		if !j.saved.IsZero() && j.saved.Before(at) && (kind == "" || t.Source.Type(n) == kind) {
			count++
		}
	})
	return count
}

// acceptedBy are the records, good and bad, that had been accepted by a time.
func (t *traffic) acceptedBy(at time.Time) *load.Set {
	accepted := new(load.Set)
	t.mu.Lock()
	defer t.mu.Unlock()
	for n, j := range t.journeys {
		if !j.answered.IsZero() && j.answered.Before(at) {
			accepted.Add(uint64(n))
		}
	}
	return accepted
}

// caughtUp returns when the last of those was there that had been accepted by
// a time.
func (t *traffic) caughtUp(by time.Time) (at time.Time) {
	at = by
	t.each(func(_ uint64, j journey) {
		if j.answered.Before(by) && j.saved.After(at) {
			at = j.saved
		}
	})
	return at
}

// delays are those from sent to saved, of what was accepted in a time. What is
// not there counts with its age.
func (t *traffic) delays(from, to time.Time) *load.Histogram {
	h, now := new(load.Histogram), time.Now()
	t.each(func(_ uint64, j journey) {
		if j.answered.Before(from) || !j.answered.Before(to) {
			return
		}
		if j.saved.IsZero() {
			j.saved = now
		}
		h.Add(j.saved.Sub(j.sent))
	})
	return h
}
