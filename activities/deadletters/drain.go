package deadletters

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/internal/ledger"
	"millrace/internal/longcall"
)

const (
	// stillOut is why a call ends before all is home.
	stillOut = "the index does not take writes yet"
	draining = "bring parked records home"
)

// DrainCall says for which index to bring home what is parked.
type DrainCall struct {
	Stream string          `json:"stream"`
	Index  string          `json:"index"`
	Run    string          `json:"run"` // tells it from an earlier one of the same id
	For    time.Duration   `json:"for"`
	Counts ReprocessCounts `json:"counts"` // so far
}

// DrainResult is how a call of DrainParked ended.
type DrainResult struct {
	Counts ReprocessCounts `json:"counts"`
	// Out: the index does not take writes yet.
	Out bool `json:"out,omitempty"`
	// Done: nothing is parked for it any more.
	Done      bool   `json:"done,omitempty"`
	Worker    string `json:"worker"`
	LastError string `json:"lastError,omitempty"`
}

// DrainParked writes what is parked for an index into it, entry by entry, and
// resolves those of which each record is there. What it refuses for another reason
// stays in the ledger with that error, for an operator. It ends at the first record
// for which the index is still out of service.
func (r *Reprocessor) DrainParked(ctx context.Context, in DrainCall) (DrainResult, error) {
	if in.Stream != r.Stream.Name {
		return DrainResult{}, fmt.Errorf("drain %s of %s: this worker reads %s", in.Index, in.Stream, r.Stream.Name)
	}
	going, cancel := longcall.WithWorkerStop(ctx)
	defer cancel()
	call := longcall.Within(going, context.WithoutCancel(ctx))
	defer call.Abandon()
	c := newReprocessing(r, ReprocessCall{
		Stream: in.Stream, Select: ledger.Selection{Stream: in.Stream, Parked: in.Index}, Mode: ModeDirect,
		Run: in.Run, For: in.For, Progress: ReprocessProgress{Counts: in.Counts},
	}, call)
	defer longcall.Heartbeat(ctx, func() any { return c.live() })()
	if err := c.run(); err != nil && !errors.Is(err, longcall.ErrStopped) {
		return DrainResult{}, err
	}
	told := c.live()
	return DrainResult{
		Counts: c.progress.Counts, Out: c.progress.Stopped != "", Done: c.progress.Done,
		Worker: r.Worker, LastError: told.LastError,
	}, nil
}
