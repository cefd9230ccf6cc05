// Package shard is a shard of a stream in memory, for tests of what reads one.
package shard

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"millrace/internal/backoff"
	"millrace/internal/source"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Shard has records. Its fields may be changed while no reader is at work.
type Shard struct {
	Calm    bool // no read fails; otherwise one in twenty does
	Endless bool // the shard is open
	Records []stream.Record
	Loss    *stream.Loss // of the next page

	mu     sync.Mutex
	random *rand.Rand
}

// New returns a shard without records.
func New(seed uint64) *Shard { return &Shard{random: rand.New(rand.NewPCG(seed, 1))} }

// Read begins behind a checkpoint.
func (s *Shard) Read(_ string, from telemetry.Checkpoint) source.Reader {
	at := 0
	if from.Sequence != "" {
		at = slices.IndexFunc(s.Records, func(r stream.Record) bool { return r.Sequence == from.Sequence }) + 1
	}
	return &reader{s, at}
}

// Fetch returns the records of a range.
func (s *Shard) Fetch(_ context.Context, r telemetry.Range) (records []stream.Record, err error) {
	for _, record := range s.Records {
		if r.Contains(record.Sequence) {
			records = append(records, record)
		}
	}
	return records, nil
}

type reader struct {
	shard *Shard
	at    int
}

// Close has nothing to close.
func (*reader) Close() {}

// Next returns up to a hundred records. Of an open shard that has no more it waits.
func (r *reader) Next(ctx context.Context) (stream.Page, error) {
	s := r.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.at == len(s.Records) && s.Endless { // idle
		s.mu.Unlock()
		backoff.Wait(ctx, 10*time.Millisecond)
		s.mu.Lock()
	}
	if ctx.Err() != nil {
		return stream.Page{}, ctx.Err()
	}
	if !s.Calm && s.random.IntN(20) == 0 {
		return stream.Page{}, errors.New("cannot read")
	}
	end := min(len(s.Records), r.at+s.random.IntN(100))
	page := stream.Page{Records: s.Records[r.at:end], ReadUpTo: time.Unix(int64(end), 0), End: end == len(s.Records) && !s.Endless}
	r.at = end
	page.Loss, s.Loss = s.Loss, nil
	return page, nil
}
