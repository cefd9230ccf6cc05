package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities"
	"millrace/internal/index"
	"millrace/internal/telemetry"
)

// BatchInput is the input of ProcessBatch. All but stream, range and cause is
// optional, or what a run hands over to the next.
type BatchInput struct {
	Stream activities.StreamID `json:"stream"`
	Range  telemetry.Range     `json:"range"`
	Cause  index.Error         `json:"cause"` // why the range could not be indexed by its shard
	// MaxAttempts is how often a piece is tried before it goes to the ledger;
	// DefaultBatchAttempts when zero. What is transient costs no attempt.
	MaxAttempts int               `json:"maxAttempts,omitempty"`
	Pieces      []BatchPiece      `json:"pieces,omitempty"`
	Counts      activities.Counts `json:"counts,omitzero"`
}

// BatchPiece is a part of the range that is not done.
type BatchPiece struct {
	Range    telemetry.Range `json:"range"`
	Attempts int             `json:"attempts"` // that failed
	Cause    index.Error     `json:"cause"`    // of the last one
}

// BatchStatus is what ProcessBatch answers to the query status, and its result.
type BatchStatus struct {
	Range       telemetry.Range   `json:"range"`
	Cause       index.Error       `json:"cause"`
	State       string            `json:"state"`
	Counts      activities.Counts `json:"counts"`
	Pieces      []BatchPiece      `json:"pieces,omitempty"`
	MaxAttempts int               `json:"maxAttempts"`
}

// batch is one run of ProcessBatch.
type batch struct {
	in    BatchInput
	state string
}

// ProcessBatch takes a range that could not be indexed with the rest of its
// shard to its end, while the shard goes on: each of its records is indexed in
// the end, or in the ledger. It tries the pieces that are left, all in a
// round, and waits longer from round to round. Canceling it writes what is
// left to the ledger first.
func ProcessBatch(ctx workflow.Context, in BatchInput) (BatchStatus, error) {
	b := &batch{in: in}
	if b.in.MaxAttempts <= 0 {
		b.in.MaxAttempts = DefaultBatchAttempts
	}
	if b.in.Pieces == nil {
		b.in.Pieces = []BatchPiece{{Range: in.Range, Cause: in.Cause}}
	}
	answer := func() (BatchStatus, error) { return b.status(), nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, answer); err != nil {
		return b.status(), fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	return b.run(ctx)
}

func (b *batch) run(ctx workflow.Context) (BatchStatus, error) {
	for len(b.in.Pieces) > 0 && ctx.Err() == nil {
		if workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
			return b.status(), workflow.NewContinueAsNewError(ctx, ProcessBatch, b.in)
		}
		b.show(ctx, activities.StateRunning)
		if err := b.round(ctx); err != nil && ctx.Err() == nil {
			return b.status(), err
		}
		if len(b.in.Pieces) > 0 {
			b.show(ctx, activities.StateWaiting)
			_ = workflow.Sleep(ctx, batchWait(b.in.Pieces)) // fails when the workflow is canceled, which the loop looks at
		}
	}
	if len(b.in.Pieces) == 0 {
		b.show(ctx, activities.StateDrained)
		return b.status(), nil
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	for len(b.in.Pieces) > 0 {
		piece := b.in.Pieces[0]
		piece.Cause.Reason = "an operator canceled its ProcessBatch; before that: " + piece.Cause.Type + ": " + piece.Cause.Reason
		piece.Cause.Type = canceledBatch
		if err := b.bury(ctx, piece); err != nil {
			return b.status(), err
		}
		b.in.Pieces = b.in.Pieces[1:]
	}
	b.show(ctx, activities.StateDrained)
	return b.status(), temporal.NewCanceledError(b.status())
}

// canceledBatch is the error type of records whose ProcessBatch was canceled.
const canceledBatch = "canceled"

// round makes one attempt at each piece. Whatever error ends it early, no
// piece is forgotten.
func (b *batch) round(ctx workflow.Context) error {
	var left []BatchPiece
	defer func() { b.in.Pieces = append(left, b.in.Pieces...) }()
	for len(b.in.Pieces) > 0 {
		parts, err := b.try(ctx, b.in.Pieces[0])
		if err != nil {
			return err
		}
		b.in.Pieces = b.in.Pieces[1:]
		left = append(left, parts...)
	}
	return nil
}

// try makes one attempt at a piece and returns what is left of it: nothing
// after its last one. Here is where a piece that is left as a whole will be
// bisected.
func (b *batch) try(ctx workflow.Context, piece BatchPiece) (left []BatchPiece, err error) {
	var processor *activities.Processor
	var result activities.RangeResult
	in := activities.RangeInput{Stream: b.in.Stream, Range: piece.Range, Last: piece.Attempts+1 >= b.in.MaxAttempts}
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, rangeOptions), processor.IndexRange, in).Get(ctx, &result); err != nil {
		return nil, fmt.Errorf("index %s: %w", piece.Range, err)
	}
	b.in.Counts.Add(result.Counts)
	for _, part := range result.Left {
		left = append(left, BatchPiece{Range: part.Range, Attempts: piece.Attempts + 1, Cause: part.Cause})
	}
	return left, nil
}

// bury writes a piece to the ledger.
func (b *batch) bury(ctx workflow.Context, piece BatchPiece) error {
	var processor *activities.Processor
	var result activities.RangeResult
	in := activities.RangeInput{Stream: b.in.Stream, Range: piece.Range, Cause: piece.Cause}
	if err := workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, rangeOptions), processor.BuryRange, in).Get(ctx, &result); err != nil {
		return fmt.Errorf("write %s to the ledger: %w", piece.Range, err)
	}
	b.in.Counts.Add(result.Counts)
	return nil
}

// batchWait is how long to wait before the next round: it doubles with the
// attempts of the piece that has had the fewest.
func batchWait(pieces []BatchPiece) time.Duration {
	fewest := pieces[0].Attempts
	for _, piece := range pieces {
		fewest = min(fewest, piece.Attempts)
	}
	return min(firstBatchWait<<max(fewest-1, 0), longestBatchWait)
}

func (b *batch) status() BatchStatus {
	return BatchStatus{
		Range: b.in.Range, Cause: b.in.Cause, State: b.state,
		Counts: b.in.Counts, Pieces: b.in.Pieces, MaxAttempts: b.in.MaxAttempts,
	}
}

// show brings up to date what operators see.
func (b *batch) show(ctx workflow.Context, state string) {
	setState(ctx, &b.state, state)
	workflow.SetCurrentDetails(ctx, b.status().Markdown())
}
