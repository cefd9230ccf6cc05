package activities

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// HeldInput says what a ProcessBatch still holds.
type HeldInput struct {
	Stream telemetry.StreamID `json:"stream"`
	Range  telemetry.Range    `json:"range"` // the batch's
	// Pieces of it are neither indexed nor given up yet, in the order of the
	// shard.
	Pieces []LeftRange `json:"pieces,omitempty"`
	Run    string      `json:"run"` // tells the batch from a later one of the same id
}

// HeldResult says what is in the ledger now.
type HeldResult struct {
	Records int `json:"records"` // copied by this call
}

// HowReleased is how a copy is resolved: its ProcessBatch has ended, and each of
// its records is indexed, or in an entry of its own.
const HowReleased = "released"

const (
	copyingHeld   = "copy what is held to the ledger"
	releasingHeld = "release what was copied to the ledger"
)

// copyAt is when a record that a ProcessBatch holds is copied to the ledger: at
// half of the stream's retention.
func (s *settler) copyAt(r stream.Record) time.Time {
	after := s.Limits.CopyAfter
	if after == 0 {
		after = s.Source.CurrentRetention(s.work) / 2
	}
	if after == 0 { // how long the stream keeps it is unknown
		after = DefaultCopyAfter
	}
	return r.Arrived.Add(after)
}

// CopyHeld copies what a ProcessBatch still holds to the ledger, before the
// stream forgets it. What is there in a copy, also an earlier run's, is not
// copied again; so there is one copy of each record, however often this is
// called.
func (p *Processor) CopyHeld(ctx context.Context, in HeldInput) (HeldResult, error) {
	p, err := p.of(in.Stream)
	if err != nil {
		return HeldResult{}, err
	}
	s := newSettler(ctx, p, in.Range.Shard)
	defer s.abandon()
	defer s.heartbeat(ctx)()
	var result HeldResult
	if len(in.Pieces) > 0 && !longcall.Retry(s.going, &s.problem, copyingHeld, func() error { return s.copyPieces(in, source(ctx), &result) }) {
		return result, longcall.ErrStopped
	}
	slog.WarnContext(ctx, "copied to the ledger what is held for half of the stream's retention", "stream", s.Stream.Name, "shard", s.shard,
		"first", in.Range.First, "last", in.Range.Last, "records", result.Records)
	return result, nil
}

// copyPieces is CopyHeld, once.
func (s *settler) copyPieces(in HeldInput, by string, result *HeldResult) error {
	hull := in.Range
	hull.First, hull.Last = in.Pieces[0].Range.First, in.Pieces[len(in.Pieces)-1].Range.Last
	records, err := s.Source.Fetch(s.going, hull) // of what is trimmed there may be an earlier copy
	if err != nil {
		return err
	}
	there, err := s.copied(hull)
	if err != nil {
		return err
	}
	var held []verdict
	for at, r := range records {
		if i := slices.IndexFunc(in.Pieces, func(p LeftRange) bool { return contains(p.Range, r.Sequence) }); i >= 0 && !there.has(r.Sequence) {
			held = append(held, verdict{at: at, cause: in.Pieces[i].Cause})
		}
	}
	for _, run := range s.runs(s.shard, records, held) {
		e := entryOf(run)
		e.At, e.Source, e.Held = now(), by, &ledger.Holder{By: by, Run: in.Run}
		if _, err := s.Ledger.Add(s.work, e); err != nil {
			return fmt.Errorf("write a copy: %w", err)
		}
		result.Records += len(run.Records)
	}
	return nil
}

// copied is what of a range is in open copies.
func (s *settler) copied(r telemetry.Range) (there stretches, err error) {
	keys, err := s.Ledger.Copies(s.going, r)
	for _, key := range keys {
		if has, ok := ledger.CopyOf(key, r.StreamCreated); ok {
			there = append(there, has)
		}
	}
	return there, err
}

// stretches of a shard, which may overlap.
type stretches []telemetry.Range

func (s stretches) has(sequence string) bool {
	return slices.ContainsFunc(s, func(r telemetry.Range) bool { return contains(r, sequence) })
}

func contains(r telemetry.Range, sequence string) bool {
	return telemetry.CompareSequence(r.First, sequence) <= 0 && telemetry.CompareSequence(sequence, r.Last) <= 0
}

// ReleaseHeld resolves what CopyHeld has copied, when the batch has ended:
// each record is indexed, or was given up and is in an entry of its own.
func (p *Processor) ReleaseHeld(ctx context.Context, in HeldInput) error {
	p, err := p.of(in.Stream)
	if err != nil {
		return err
	}
	s := newSettler(ctx, p, in.Range.Shard)
	defer s.abandon()
	defer s.heartbeat(ctx)()
	if !longcall.Retry(s.going, &s.problem, releasingHeld, func() error { return s.release(in.Range, source(ctx)) }) {
		return longcall.ErrStopped
	}
	return nil
}

// release resolves the copies that a batch holds, also those of earlier runs.
func (s *settler) release(r telemetry.Range, by string) error {
	keys, err := s.Ledger.Copies(s.work, r)
	if err != nil {
		return err
	}
	for _, key := range keys {
		e, err := s.Ledger.Get(s.work, key)
		if err != nil {
			return err
		}
		if e.Held == nil || e.Held.By != by {
			continue
		}
		released := ledger.Resolution{How: HowReleased, By: by, Note: "each of its records is indexed, or in an entry of its own", At: now()}
		if err := s.Ledger.Resolve(s.work, key, released); err != nil {
			return err
		}
	}
	return nil
}

// recall completes the records of a range by those that were copied to the
// ledger in time, since the stream has them no longer. They go past the cache of
// what is indexed, since they may have been replayed.
func (s *settler) recall(r telemetry.Range, records []stream.Record) ([]stream.Record, bool) {
	var copies map[string]ledger.Record
	read := func() (err error) {
		copies, err = s.Ledger.Recall(s.going, r)
		return err
	}
	if !longcall.Retry(s.going, &s.problem, readingLedger, read) {
		return nil, false
	}
	for _, had := range records {
		delete(copies, had.Sequence)
	}
	for sequence, c := range copies {
		records = append(records, stream.Record{Sequence: sequence, Arrived: c.Arrived, Data: c.Data, Replayed: true})
	}
	slices.SortFunc(records, func(a, b stream.Record) int { return telemetry.CompareSequence(a.Sequence, b.Sequence) })
	return records, true
}
