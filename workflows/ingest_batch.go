package workflows

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/ingest"
	"millrace/internal/control"
)

// IngestStatus is what IngestBatch answers to the query status, and its result.
type IngestStatus struct {
	State   string `json:"state"`
	Records int    `json:"records"`
	// Left counts the records that neither stream nor queue has taken: they
	// are safe in this workflow's input.
	Left      int    `json:"left"`
	LastError string `json:"lastError,omitempty"`
	// Queued are the positions of the records that went into the fallback queue, since
	// the stream did not take them; nil also where that is not known.
	Queued []int `json:"queued,omitempty"`
}

// ingestion is one run of IngestBatch.
type ingestion struct {
	status IngestStatus
	left   ingest.FinishInput
}

// IngestBatch makes one batch of the collector durable. Its input is a pack of
// records (package pack): that it was started is what the collector answers
// 202 for. It puts the records into the stream, and what the stream does not
// take into the queue; if both refuse, it goes on trying for as long as it
// takes. Canceling it writes what is left to the ledger first.
func IngestBatch(ctx workflow.Context, batch []byte) (IngestStatus, error) {
	i := &ingestion{}
	i.status.State = control.StateRunning
	answer := func() (IngestStatus, error) { return i.status, nil }
	if err := workflow.SetQueryHandler(ctx, StatusQuery, answer); err != nil {
		return i.status, fmt.Errorf("answer the query %s: %w", StatusQuery, err)
	}
	done, err := i.put(ctx, batch)
	if done || err != nil {
		return i.status, err
	}
	if err := i.finish(ctx); err != nil {
		return i.status, err
	}
	if i.status.Left == 0 {
		i.show(ctx, control.StateDrained)
		return i.status, nil
	}
	return i.status, i.bury(ctx)
}

// put makes the first attempt, in the very workflow task that started the run.
// It reports whether all is done.
func (i *ingestion) put(ctx workflow.Context, batch []byte) (done bool, err error) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx) // it is short, and a cancel wants to know what is left
	defer cancel()
	var result ingest.PutResult
	err = ingest.PutBatch.ExecuteLocal(workflow.WithLocalActivityOptions(ctx, putBatchOptions), batch).Get(ctx, &result)
	var application *temporal.ApplicationError
	switch {
	case errors.As(err, &application) && application.Type() == ingest.DamagedBatch:
		return false, temporal.NewNonRetryableApplicationError("put the batch", ingest.DamagedBatch, err)
	case err != nil: // a timeout, or a panic: how far it came is not known
		i.status.LastError = err.Error()
		i.status.Left = 1 // at the least
	default:
		i.learn(result)
	}
	if i.status.Left == 0 {
		i.status.State = control.StateDrained
		return true, nil
	}
	return false, nil
}

func (i *ingestion) learn(result ingest.PutResult) {
	i.status.Records, i.status.Left, i.status.LastError = result.Records, len(result.Left), result.Error
	i.status.Queued = append(i.status.Queued, result.Queued...)
	i.left.Left = result.Left
}

// finish tries again until nothing is left, or the workflow is canceled.
func (i *ingestion) finish(ctx workflow.Context) error {
	i.show(ctx, control.StateWaiting)
	for {
		var result ingest.PutResult
		err := ingest.FinishBatch.Execute(workflow.WithActivityOptions(ctx, finishBatchOptions), i.left).Get(ctx, &result)
		if temporal.IsCanceledError(err) { // before a worker took it
			return nil
		}
		if err != nil {
			return fmt.Errorf("finish the batch: %w", err)
		}
		if result.Records == 0 && ignore(ctx, string(ingest.FinishBatch)) { // a batch has one, at the least
			continue
		}
		i.learn(result)
		return nil
	}
}

// bury writes what is left of a canceled batch to the ledger.
func (i *ingestion) bury(ctx workflow.Context) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	i.left.Error = i.status.LastError
	for range 2 { // workers of an earlier version do not say either what they did: once more does no harm
		var result ingest.PutResult
		if err := ingest.BuryBatch.Execute(workflow.WithActivityOptions(ctx, finishBatchOptions), i.left).Get(ctx, &result); err != nil {
			return fmt.Errorf("write the rest of the batch to the ledger: %w", err)
		}
		if result.Records > 0 || !ignore(ctx, string(ingest.BuryBatch)) {
			break
		}
	}
	i.show(ctx, control.StateDrained)
	return temporal.NewCanceledError(i.status)
}

// show brings up to date what operators see. A batch on its straight way needs
// none of it, which saves an event each.
func (i *ingestion) show(ctx workflow.Context, state string) {
	if state == control.StateWaiting {
		if err := workflow.UpsertTypedSearchAttributes(ctx, Stage.ValueSet("ingest")); err != nil {
			workflow.GetLogger(ctx).Error("could not set the search attribute", "stage", "ingest", "error", err)
		}
	}
	setState(ctx, &i.status.State, state)
	workflow.SetCurrentDetails(ctx, i.status.Markdown())
}
