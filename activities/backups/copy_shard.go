package backups

import (
	"context"
	"log/slog"
	"time"

	"millrace/internal/longcall"
	"millrace/internal/source"
	"millrace/internal/telemetry"
)

// CopyInput says which shard to back up, from where and for how long.
type CopyInput struct {
	Stream     telemetry.StreamID   `json:"stream"`
	Shard      string               `json:"shard"`
	Checkpoint telemetry.Checkpoint `json:"checkpoint,omitzero"`
	Counts     Counts               `json:"counts"` // of the records up to the checkpoint
	// For is how long the call may take. It ends with the next object that is
	// written after that, so that calls make no small objects.
	For time.Duration `json:"for"`
	// Waiting is what the last call ended with: see CopyResult.
	Waiting bool `json:"waiting,omitempty"`
}

// CopyProgress is how far the backup of a shard is: a call's result, and on the
// way there the details of its heartbeat, from which its retry goes on.
type CopyProgress struct {
	Checkpoint telemetry.Checkpoint `json:"checkpoint"` // all records up to it are durable
	Counts     Counts               `json:"counts"`     // of the records up to the checkpoint
	Held       int                  `json:"held"`       // records read behind the checkpoint
	LagSeconds float64              `json:"lagSeconds"`
	Worker     string               `json:"worker"`
	LastError  string               `json:"lastError,omitempty"` // since the call began
}

// CopyResult is how a call ended.
type CopyResult struct {
	CopyProgress
	// From is the checkpoint at which the call began, by which the workflow knows a
	// result of its own call.
	From *telemetry.Checkpoint `json:"from,omitempty"`
	// Waiting: the backup has stood still for a while, for something that does
	// not work. A call ends early when this changes, so that the workflow's
	// state says it; the next call goes on trying.
	Waiting bool `json:"waiting,omitempty"`
	// Children are the shards that go on after this one, when
	// Checkpoint.Closed says that all of it is in the backup.
	Children []string `json:"children,omitempty"`
}

// CopyShard copies a shard into the backup from its checkpoint on, until its
// time is over, the shard ends, the worker stops, or it is canceled, which is
// how a backup is paused. Each time it writes what it holds, and ends with the
// checkpoint it has reached, which is never ahead of a durable object.
func (a *Archivist) CopyShard(ctx context.Context, in CopyInput) (CopyResult, error) {
	a, err := a.of(in.Stream)
	if err != nil {
		return CopyResult{}, err
	}
	at, counts := in.Checkpoint, in.Counts
	var last CopyProgress
	if longcall.Resume(ctx, &last) {
		at, counts = last.Checkpoint, last.Counts
	}
	call := longcall.Begin(ctx)
	defer call.Abandon()
	c := &copying{archivist: a, in: in, call: call, due: make(chan struct{}), at: at, counts: counts}
	defer forgetBackup(in.Shard)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		c.run()
	}()
	longcall.Watch{For: in.For, Drain: a.Limits.DrainTimeout, Look: c.look, Call: call}.Until(ctx, finished)
	result := CopyResult{CopyProgress: c.progress(), From: &in.Checkpoint, Waiting: c.isWaiting()}
	if result.Checkpoint.Closed {
		result.Children, result.Waiting = c.children, false
	}
	slog.Info("backed up a shard for a while", "stream", a.Stream.Name, "shard", in.Shard, "checkpoint", result.Checkpoint.Sequence,
		"closed", result.Checkpoint.Closed, "records", result.Counts.Records-in.Counts.Records,
		"objects", result.Counts.Objects-in.Counts.Objects, "ended", call.Reason())
	if c.lost != nil {
		return result, source.Replaced(c.lost, result.CopyProgress)
	}
	return result, nil
}

// look says how far the call is, and whether it is to end: once it is due, with the
// next object.
func (c *copying) look(due bool) (details any, end error) {
	progress := c.progress()
	c.publish(progress)
	if due && !c.isDue {
		c.isDue = true
		close(c.due)
	}
	switch {
	case c.isWaiting() != c.in.Waiting:
		end = longcall.ErrChanged
	case due && c.in.Waiting: // no reason to hold on to the slot
		end = longcall.ErrDue
	}
	return progress, end
}

// isWaiting reports whether the backup waits for something that does not work.
func (c *copying) isWaiting() bool {
	since, _ := c.call.Stall.State()
	if c.in.Waiting { // until it moves again
		return c.moved() == 0 || !since.IsZero()
	}
	return !since.IsZero() && time.Since(since) > c.archivist.Limits.WaitingAfter
}

func (c *copying) progress() CopyProgress {
	_, lastError := c.call.Stall.State()
	c.mu.Lock()
	defer c.mu.Unlock()
	progress := CopyProgress{Checkpoint: c.at, Counts: c.counts, Held: c.held.Count, Worker: c.archivist.Worker, LastError: lastError}
	if at := c.at.ReadUpTo; !at.IsZero() && !c.at.Closed {
		progress.LagSeconds = max(0, time.Since(at).Seconds())
	}
	return progress
}

func (c *copying) publish(progress CopyProgress) {
	waiting := 0.0
	if c.isWaiting() {
		waiting = 1
	}
	c.mu.Lock()
	held := c.held.Bytes
	c.mu.Unlock()
	backupLag.WithLabelValues(c.in.Shard).Set(progress.LagSeconds)
	backupWaiting.WithLabelValues(c.in.Shard).Set(waiting)
	backupHeld.WithLabelValues(c.in.Shard).Set(float64(held))
}
