package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"millrace/internal/backoff"
	"millrace/internal/intake"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/pack"
)

// Ingester is what the activities of IngestBatch and Reconcile need.
type Ingester struct {
	Intake  Writer
	Batches Workflows
	// DeadLetters takes what is left of a batch that an operator cancels.
	DeadLetters intake.DeadLetters
}

// Writer makes records durable and says which are not yet, and which are in the queue.
// See intake.Writer.
type Writer interface {
	Place(ctx context.Context, batch string, records [][]byte) (intake.Placed, error)
}

// PutResult says how far a batch is. Positions are those of its pack.
type PutResult struct {
	Records int    `json:"records"`
	Left    []int  `json:"left,omitempty"`   // durable nowhere but in the workflow's input
	Queued  []int  `json:"queued,omitempty"` // put into the queue, by this attempt or an earlier one of the call
	Error   string `json:"error,omitempty"`
}

// DamagedBatch is the type of the error for an input that is not a pack, which
// no attempt can mend.
const DamagedBatch = "DamagedBatch"

// PutBatch makes one attempt to put a batch into the stream, and what the
// stream does not take into the queue. It is a local activity: it costs no
// round trip to Temporal.
func (g *Ingester) PutBatch(ctx context.Context, batch []byte) (PutResult, error) {
	records, err := unpack(batch)
	if err != nil {
		return PutResult{}, err
	}
	placed, err := g.Intake.Place(ctx, activity.GetInfo(ctx).WorkflowExecution.ID, records)
	result := PutResult{Records: len(records), Left: placed.Left, Queued: placed.Queued}
	if err != nil {
		result.Error = err.Error()
	}
	return result, nil
}

func unpack(batch []byte) ([][]byte, error) {
	records, err := pack.Unpack(batch)
	if err != nil {
		return nil, temporal.NewNonRetryableApplicationError("unpack the batch", DamagedBatch, err)
	}
	return records, nil
}

// FinishInput says what is left of a batch.
type FinishInput struct {
	// Left are positions; all of the batch when it is nil.
	Left []int `json:"left,omitempty"`
	// Error is why they go to the ledger, for BuryBatch.
	Error string `json:"error,omitempty"`
}

// Waits between attempts at what neither stream nor queue takes.
const (
	firstFinishWait   = 500 * time.Millisecond
	longestFinishWait = 30 * time.Second
)

// FinishBatch tries what is left of a batch again and again, until all of it
// is durable. The records are those of the workflow's input, which stands in
// its history once. When it is canceled it returns what is left then.
func (g *Ingester) FinishBatch(ctx context.Context, in FinishInput) (PutResult, error) {
	records, left, queued, err := g.open(ctx, in)
	if err != nil {
		return PutResult{}, err
	}
	f := &finishing{result: PutResult{Records: len(records), Left: left, Queued: queued}}
	defer longcall.Heartbeat(ctx, func() any { return f.state() })()
	stopping, cancel := longcall.WithWorkerStop(ctx)
	defer cancel()
	batch := activity.GetInfo(ctx).WorkflowExecution.ID
	for wait := firstFinishWait; ; wait = min(2*wait, longestFinishWait) {
		placed, err := g.putLeft(stopping, batch, records, left)
		if left = placed.Left; len(left) == 0 {
			return f.set(placed, nil), nil
		}
		result := f.set(placed, err)
		slog.Warn("neither stream nor queue takes all of a batch, trying again", "workflow", batch, "left", len(left), "error", err)
		if !backoff.Wait(stopping, wait) {
			if ctx.Err() == nil { // another worker goes on
				activity.RecordHeartbeat(ctx, result)
				return result, longcall.ErrWorkerStopping
			}
			return result, nil
		}
	}
}

func (g *Ingester) putLeft(ctx context.Context, batch string, records [][]byte, left []int) (intake.Placed, error) {
	placed, err := g.Intake.Place(ctx, batch, intake.Pick(records, left))
	for _, positions := range [][]int{placed.Left, placed.Queued} {
		for n, at := range positions {
			positions[n] = left[at]
		}
	}
	return placed, err
}

// open reads the workflow's input, and what an earlier attempt of this activity
// has left of it and put into the queue.
func (g *Ingester) open(ctx context.Context, in FinishInput) (records [][]byte, left, queued []int, err error) {
	execution := activity.GetInfo(ctx).WorkflowExecution
	batch, err := g.Batches.IngestInput(ctx, execution.ID, execution.RunID)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read the batch from the history of %s: %w", execution.ID, err)
	}
	if records, err = unpack(batch); err != nil {
		return nil, nil, nil, err
	}
	left = in.Left
	var last PutResult
	if activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, &last) == nil && last.Records == len(records) {
		left, queued = last.Left, last.Queued
	}
	if left == nil {
		left = intake.Positions(len(records))
	}
	for _, at := range left {
		if at < 0 || at >= len(records) {
			return nil, nil, nil, fmt.Errorf("find record %d of the %d in %s", at, len(records), execution.ID)
		}
	}
	return records, left, queued, nil
}

// finishing is what FinishBatch tells while it works.
type finishing struct {
	mu     sync.Mutex
	result PutResult
}

func (f *finishing) set(placed intake.Placed, err error) PutResult {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.result.Left, f.result.Error = placed.Left, ""
	f.result.Queued = append(f.result.Queued[:len(f.result.Queued):len(f.result.Queued)], placed.Queued...)
	if err != nil {
		f.result.Error = err.Error()
	}
	return f.result
}

func (f *finishing) state() PutResult {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.result
}

// BuryBatch writes what is left of a canceled batch to the ledger and the
// dead-letter queue. It leaves none.
func (g *Ingester) BuryBatch(ctx context.Context, in FinishInput) (PutResult, error) {
	records, left, _, err := g.open(ctx, in)
	if err != nil {
		return PutResult{}, err
	}
	defer longcall.Heartbeat(ctx, func() any { return nil })()
	reason := "an operator canceled its IngestBatch"
	if in.Error != "" {
		reason += "; before that: " + in.Error
	}
	dead := make([]intake.Refused, len(left))
	for n, at := range left {
		dead[n] = intake.Refused{Position: at, Data: records[at], Code: outcome.TypeCanceled, Reason: reason}
	}
	return PutResult{Records: len(records)}, g.DeadLetters.WriteIngest(ctx, activity.GetInfo(ctx).WorkflowExecution.ID, dead)
}

// Workflows are the IngestBatch workflows.
type Workflows interface {
	// IngestInput returns the input of a run, from its history. The error wraps
	// ErrUnreadable when it can never be had.
	IngestInput(ctx context.Context, id, run string) ([]byte, error)
	// UnfinishedIngests yields the runs that closed since then without
	// completing. It stops at the first error of each.
	UnfinishedIngests(ctx context.Context, since time.Time, each func(id, run string) error) error
	// ReplayIngest starts a batch again under the id it had. That it runs, or
	// has completed, is success, and reported as false.
	ReplayIngest(ctx context.Context, id string, batch []byte) (started bool, err error)
	// UnfinishedBatches is UnfinishedIngests for ProcessBatch.
	UnfinishedBatches(ctx context.Context, since time.Time, each func(id, run string) error) error
	// RestartBatch starts a ProcessBatch again as a run of it began, since its
	// shard is past its range. One of which there is a later run is left alone,
	// and reported as false. The error is as that of IngestInput.
	RestartBatch(ctx context.Context, id, run string) (started bool, err error)
}

// ErrUnreadable says that the input of a run can never be read: its history is
// gone or damaged, or it holds something else.
var ErrUnreadable = errors.New("the input cannot be read")

// ReconcileInput says how far the reconciler is.
type ReconcileInput struct {
	// Since bounds the runs that are looked at: those that closed before it
	// have been seen. Zero: all that the namespace keeps.
	Since    time.Time `json:"since,omitzero"`
	Replayed int       `json:"replayed,omitempty"` // so far
	// Full is when all that the namespace keeps was looked at last.
	Full time.Time `json:"full,omitzero"`
}

const (
	// reconcileOverlap is how late a closed run usually shows up in Temporal's
	// visibility store. To look at a run twice does no harm.
	reconcileOverlap = 10 * time.Minute
	// reconcileFully is how often all is looked at, for runs that show up later
	// than that: nothing bounds how late. It is twice within the shortest retention
	// of a namespace, a day.
	reconcileFully = 12 * time.Hour
)

// ReconcileBatches replays the batches whose workflow was terminated, or
// failed: they were answered 202, and no other process has their records, or works
// on their range.
func (g *Ingester) ReconcileBatches(ctx context.Context, in ReconcileInput) (ReconcileInput, error) {
	now := time.Now().UTC()
	next, since := ReconcileInput{Since: now.Add(-reconcileOverlap), Replayed: in.Replayed, Full: in.Full}, in.Since
	if now.Sub(in.Full) >= reconcileFully {
		next.Full, since = now, time.Time{}
	}
	takeUp := func(again func(ctx context.Context, id, run string) (bool, error)) func(id, run string) error {
		return func(id, run string) error {
			activity.RecordHeartbeat(ctx)
			started, err := again(ctx, id, run)
			if errors.Is(err, ErrUnreadable) {
				// No attempt would get past it to those behind it.
				unreadableRuns.Inc()
				slog.Error("a workflow that was closed unfinished cannot be started again", "workflow", id, "run", run, "error", err)
				return nil
			}
			if err != nil {
				return fmt.Errorf("start %s again: %w", id, err)
			}
			if started {
				next.Replayed++
				replayedBatches.Inc()
				slog.Warn("started a workflow again that was closed unfinished", "workflow", id, "run", run)
			}
			return nil
		}
	}
	if err := g.Batches.UnfinishedIngests(ctx, since, takeUp(g.replay)); err != nil {
		return in, fmt.Errorf("reconcile ingest batches: %w", err)
	}
	if err := g.Batches.UnfinishedBatches(ctx, since, takeUp(g.Batches.RestartBatch)); err != nil {
		return in, fmt.Errorf("reconcile ranges: %w", err)
	}
	return next, nil
}

// replay starts an IngestBatch again with the input of a run.
func (g *Ingester) replay(ctx context.Context, id, run string) (started bool, err error) {
	batch, err := g.Batches.IngestInput(ctx, id, run)
	if err != nil {
		return false, fmt.Errorf("read the batch from the history: %w", err)
	}
	if _, err := pack.Unpack(batch); err != nil { // nothing that a collector started
		return false, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return g.Batches.ReplayIngest(ctx, id, batch)
}
