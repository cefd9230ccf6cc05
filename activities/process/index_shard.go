package process

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"millrace/internal/circuit"
	"millrace/internal/indexing"
	"millrace/internal/longcall"
	"millrace/internal/source"
	"millrace/internal/telemetry"
)

// IndexInput says which shard to index, from where and for how long.
type IndexInput struct {
	Stream     telemetry.StreamID   `json:"stream"`
	Shard      string               `json:"shard"`
	Checkpoint telemetry.Checkpoint `json:"checkpoint,omitzero"`
	Counts     indexing.Counts      `json:"counts"` // of the records up to the checkpoint
	// For is how long the call may take. It indexes one batch at the least.
	For time.Duration `json:"for"`
	// Waiting is what the last call ended with: see IndexResult.
	Waiting bool `json:"waiting,omitempty"`
	// Probe: the circuit is open. The call takes few records, and ends when it
	// is known what becomes of them.
	Probe bool `json:"probe,omitempty"`
	// Force: an operator wants bad records to be given up, however many they
	// are.
	Force bool `json:"force,omitempty"`
	// Generation of the last recovery: what this worker has seen indexed before
	// may not be there any more.
	Generation uint64 `json:"generation,omitempty"`
	// Tenants are what the last call knew of the tenants of the shard.
	Tenants []circuit.TenantState `json:"tenants,omitempty"`
}

// Progress is how far a shard is: a call's result, and on the way there the
// details of its heartbeat, from which its retry goes on.
type Progress struct {
	Checkpoint telemetry.Checkpoint `json:"checkpoint"`
	Counts     indexing.Counts      `json:"counts"` // of the records up to the checkpoint
	LagSeconds float64              `json:"lagSeconds"`
	Live       LiveDelay            `json:"live,omitzero"`
	Worker     string               `json:"worker"`
	LastError  string               `json:"lastError,omitempty"` // since the call began
	// Tenants are those that offend, and some of the others, for the next call.
	Tenants []circuit.TenantState `json:"tenants,omitempty"`
}

// LiveDelay is how long the records took that a worker has indexed in the last
// seconds, of all its shards: see delay.RecentWindow.
type LiveDelay struct {
	Records uint64  `json:"records"`
	Seconds float64 `json:"p99Seconds"`
}

// IndexResult is how a call ended.
type IndexResult struct {
	Progress
	// From is the checkpoint at which the call began, by which the workflow knows a
	// result of its own call.
	From *telemetry.Checkpoint `json:"from,omitempty"`
	// Waiting: the shard has stood still for a while, for something that does
	// not work. A call ends early when this changes, so that the workflow's
	// state says it; the next call goes on trying.
	Waiting bool `json:"waiting,omitempty"`
	// Tripped: most records of most tenants are bad, and nothing was done with
	// them; or a probe ended before it knew of any. The checkpoint stands before
	// them.
	Tripped bool `json:"tripped,omitempty"`
	// Children are the shards that go on after this one, when
	// Checkpoint.Closed says that it is drained.
	Children []string `json:"children,omitempty"`
}

// errProbed ends a call whose probe has passed.
var errProbed = errors.New("the circuit closes again")

// IndexShard indexes a shard from its checkpoint on, until its time is over,
// the shard ends, the worker stops, or it is canceled, which is how a shard is
// paused: each time it ends well, with the checkpoint it has reached. Before
// the checkpoint passes a record, that record is indexed, or in the ledger, or
// inside a ProcessBatch whose start was acknowledged.
func (p *Processor) IndexShard(ctx context.Context, in IndexInput) (IndexResult, error) {
	p, err := p.of(in.Stream)
	if err != nil {
		return IndexResult{}, err
	}
	p.Indexer.Seen.Raise(in.Generation)
	at, counts, tenants := in.Checkpoint, in.Counts, in.Tenants
	var last Progress
	if longcall.Resume(ctx, &last) {
		at, counts, tenants = last.Checkpoint, last.Counts, last.Tenants
	}
	if in.Probe {
		p = p.probing()
	}
	judge := circuit.New(circuit.Settings{Off: in.Force, Probe: in.Probe, Known: tenants})
	c := &shardCall{in: in, pipeline: newPipeline(ctx, p, in.Shard, judge, newMark(at, counts))}
	call := c.pipeline.work.call
	defer call.Abandon()
	defer forgetShard(in.Shard)
	reader := p.Source.Read(in.Shard, at)
	defer reader.Close()
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		c.pipeline.run(reader)
	}()
	longcall.Watch{For: in.For, Drain: p.Limits.DrainTimeout, Look: c.look, Call: call}.Until(ctx, finished)
	result := c.result()
	slog.Info("indexed a shard for a while", "stream", p.Stream.Name, "shard", in.Shard, "checkpoint", result.Checkpoint.Sequence,
		"closed", result.Checkpoint.Closed, "records", result.Counts.Records-in.Counts.Records, "ended", call.Reason())
	if by := c.pipeline.replaced.By; by != nil && c.pipeline.lost {
		return result, source.Replaced(by, result.Progress)
	}
	return result, nil
}

// probing is a processor that takes just enough records for a judgement.
func (p *Processor) probing() *Processor {
	probe := *p
	probe.Limits.BulkRecords, probe.Limits.BulksPerShard = circuit.Least, 1
	return &probe
}

// shardCall is one call of IndexShard.
type shardCall struct {
	in       IndexInput
	pipeline *pipeline
}

// look says how far the call is, and whether it is to end.
func (c *shardCall) look(due bool) (details any, end error) {
	progress := c.progress()
	c.show(progress)
	switch {
	case c.isWaiting() != c.in.Waiting:
		end = longcall.ErrChanged
	case c.in.Probe && c.hasPassed():
		end = errProbed
	// One batch at the least, or it would never get on; unless there is something
	// to wait for, which is no reason to hold on to the slot.
	case due && (c.in.Waiting || c.pipeline.mark.state().moves > 0):
		end = longcall.ErrDue
	}
	return progress, end
}

// hasPassed reports whether the mark has passed records.
func (c *shardCall) hasPassed() bool {
	return c.pipeline.mark.state().counts.Records > c.in.Counts.Records
}

// isUndecided reports whether a probe has not come to know of any record what
// becomes of it. Of an idle shard there is nothing to know.
func (c *shardCall) isUndecided() bool {
	state := c.pipeline.mark.state()
	isIdle := state.moves > 0 && state.stuckSince.IsZero()
	return c.in.Probe && !c.hasPassed() && !isIdle
}

// isWaiting reports whether the shard waits for something that does not work.
func (c *shardCall) isWaiting() bool {
	state := c.pipeline.mark.state()
	since, _ := c.pipeline.work.call.Stall.State()
	if c.in.Waiting { // until it moves again
		return state.moves == 0 || !since.IsZero()
	}
	// Other bulks may succeed while the one at the mark does not.
	if since.IsZero() || !state.stuckSince.IsZero() && state.stuckSince.Before(since) {
		since = state.stuckSince
	}
	return !since.IsZero() && time.Since(since) > c.pipeline.work.processor.Limits.WaitingAfter
}

func (c *shardCall) progress() Progress {
	state := c.pipeline.mark.state()
	_, lastError := c.pipeline.work.call.Stall.State()
	processor := c.pipeline.work.processor
	progress := Progress{
		Checkpoint: state.checkpoint, Counts: state.counts, Worker: processor.Worker, LastError: lastError, Tenants: c.pipeline.circuit.Told(),
	}
	if recent := processor.Indexer.Delay.Recent(); recent.Count > 0 {
		progress.Live = LiveDelay{Records: recent.Count, Seconds: recent.P99.Seconds()}
	}
	if at := state.checkpoint.ReadUpTo; !at.IsZero() && !state.checkpoint.Closed {
		progress.LagSeconds = max(0, time.Since(at).Seconds())
	}
	return progress
}

func (c *shardCall) result() IndexResult {
	result := IndexResult{Progress: c.progress(), From: &c.in.Checkpoint, Waiting: c.isWaiting()}
	if open, cause := c.pipeline.circuit.IsOpen(); open {
		result.Tripped, result.Waiting, result.LastError = true, false, cause
	} else if c.isUndecided() {
		result.Tripped, result.Waiting = true, false
	}
	if result.Checkpoint.Closed {
		result.Children, result.Waiting = c.pipeline.children, false
	}
	return result
}
