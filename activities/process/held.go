package process

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"millrace/internal/deadletter"
	"millrace/internal/indexing"
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

const (
	copyingHeld   = "copy what is held to the ledger"
	releasingHeld = "release what was copied to the ledger"
)

// CopyHeld copies what a ProcessBatch still holds to the ledger, before the
// stream forgets it. What is there in a copy, also an earlier run's, is not
// copied again; so there is one copy of each record, however often this is
// called.
func (p *Processor) CopyHeld(ctx context.Context, in HeldInput) (HeldResult, error) {
	p, err := p.of(in.Stream)
	if err != nil {
		return HeldResult{}, err
	}
	w := p.begin(ctx, in.Range.Shard)
	defer w.call.Abandon()
	defer w.heartbeat(ctx)()
	var result HeldResult
	if len(in.Pieces) > 0 && !w.call.Retry(copyingHeld, func() error { return w.copyPieces(in, deadletter.Source(ctx), &result) }) {
		return result, longcall.ErrStopped
	}
	slog.WarnContext(ctx, "copied to the ledger what is held for half of the stream's retention", "stream", w.processor.Stream.Name, "shard", w.shard,
		"first", in.Range.First, "last", in.Range.Last, "records", result.Records)
	return result, nil
}

// copyPieces is CopyHeld, once.
func (w *work) copyPieces(in HeldInput, by string, result *HeldResult) error {
	hull := in.Range
	hull.First, hull.Last = in.Pieces[0].Range.First, in.Pieces[len(in.Pieces)-1].Range.Last
	records, err := w.processor.Source.Fetch(w.call.Going, hull) // of what is trimmed there may be an earlier copy
	if err != nil {
		return err
	}
	there, err := w.copied(hull)
	if err != nil {
		return err
	}
	var held []indexing.Verdict
	for at, r := range records {
		if i := slices.IndexFunc(in.Pieces, func(p LeftRange) bool { return p.Range.Contains(r.Sequence) }); i >= 0 && !there.Has(r.Sequence) {
			held = append(held, indexing.Verdict{At: at, Cause: in.Pieces[i].Cause})
		}
	}
	for _, run := range w.deadLetters.runs(records, held) {
		e := run.Entry()
		e.At, e.Source, e.Held = deadletter.Now(), by, &ledger.Holder{By: by, Run: in.Run}
		if _, err := w.processor.Ledger.Add(w.call.Work, e); err != nil {
			return fmt.Errorf("write a copy: %w", err)
		}
		result.Records += len(run.Records)
	}
	return nil
}

// copied is what of a range is in open copies.
func (w *work) copied(r telemetry.Range) (there telemetry.Ranges, err error) {
	keys, err := w.processor.Ledger.Copies(w.call.Going, r)
	for _, key := range keys {
		if has, ok := ledger.CopyOf(key, r.StreamCreated); ok {
			there = append(there, has)
		}
	}
	return there, err
}

// ReleaseHeld resolves what CopyHeld has copied, when the batch has ended:
// each record is indexed, or was given up and is in an entry of its own.
func (p *Processor) ReleaseHeld(ctx context.Context, in HeldInput) error {
	p, err := p.of(in.Stream)
	if err != nil {
		return err
	}
	w := p.begin(ctx, in.Range.Shard)
	defer w.call.Abandon()
	defer w.heartbeat(ctx)()
	if !w.call.Retry(releasingHeld, func() error { return w.release(in.Range, deadletter.Source(ctx)) }) {
		return longcall.ErrStopped
	}
	return nil
}

// release resolves the copies that a batch holds, also those of earlier runs.
func (w *work) release(r telemetry.Range, by string) error {
	keys, err := w.processor.Ledger.Copies(w.call.Work, r)
	if err != nil {
		return err
	}
	for _, key := range keys {
		e, err := w.processor.Ledger.Get(w.call.Work, key)
		if err != nil {
			return err
		}
		if e.Held == nil || e.Held.By != by {
			continue
		}
		released := ledger.Resolution{How: ledger.HowReleased, By: by, Note: "each of its records is indexed, or in an entry of its own", At: deadletter.Now()}
		if err := w.processor.Ledger.Resolve(w.call.Work, key, released); err != nil {
			return err
		}
	}
	return nil
}

// recall completes the records of a range by those that were copied to the
// ledger in time, since the stream has them no longer. They go past the cache of
// what is indexed, since they may have been replayed.
func (w *work) recall(r telemetry.Range, records []stream.Record) ([]stream.Record, bool) {
	var copies map[string]ledger.Record
	read := func() (err error) {
		copies, err = w.processor.Ledger.Recall(w.call.Going, r)
		return err
	}
	if !w.call.Retry(deadletter.Reading, read) {
		return nil, false
	}
	for _, had := range records {
		delete(copies, had.Sequence)
	}
	for sequence, c := range copies {
		records = append(records, stream.Record{Sequence: sequence, Arrived: c.Arrived, Data: c.Data, Replayed: true})
	}
	slices.SortFunc(records, func(a, b stream.Record) int { return telemetry.ComparePositions(a.Sequence, b.Sequence) })
	return records, true
}
