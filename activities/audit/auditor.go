package audit

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"millrace/internal/backup"
	"millrace/internal/deadletter"
	"millrace/internal/ledger"
	"millrace/internal/limiter"
	"millrace/internal/longcall"
	"millrace/internal/sink"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

// Auditor is what the activity needs.
type Auditor struct {
	Stream    telemetry.StreamID
	Backups   backup.Objects // below backup.Prefix
	Documents Documents
	Limiter   *limiter.Limiter // shared with live traffic, which goes first
	Ledger    *ledger.Ledger
	Retention snapshot.Store // where it writes what it deletes
	Workflows Workflows
	Worker    string
}

// Documents are those of Elasticsearch. See index.Client.
type Documents interface {
	Exist(ctx context.Context, documents []sink.Reference) ([]bool, error)
}

// Workflows are those of the pipeline. See launch.Launcher.
type Workflows interface {
	// Reached returns the checkpoint of a shard; false if it has no workflow.
	Reached(ctx context.Context, stream telemetry.StreamID, shard string) (telemetry.Checkpoint, bool, error)
	// OpenBatches returns the ranges of the ProcessBatch workflows that were open at a time.
	OpenBatches(ctx context.Context, stream telemetry.StreamID, at time.Time) ([]telemetry.Range, error)
	// Recovering reports whether a recovery is open, which may delete indices before it
	// restores them.
	Recovering(ctx context.Context) (bool, error)
}

const (
	// callObjects is how many objects a call checks: then its workflow learns of them.
	callObjects = 100
	// enoughMissing ends a run: there is something to be woken for, and each missing record
	// costs a search of the resolved entries of the ledger, some 50 ms.
	enoughMissing = 1_000
	// MostExamples is how many missing records a result names, and mostLogged how many of
	// a call the log does.
	MostExamples, mostLogged = 10, 100
)

// What a call may have to wait for, as operators read it.
const (
	listing   = "list the backup"
	opening   = "read the backup"
	lookingUp = "look up documents"
	batches   = "list open batches"
	recovered = "look for a recovery"
	deleted   = "look for what retention has deleted"
)

// run is one call of AuditObjects.
type run struct {
	auditor *Auditor
	call    *longcall.Call
	in      Call
	pace    *rate.Limiter

	places
	at       map[backup.Shard]*telemetry.Checkpoint // nil: not known
	deleted  *snapshot.Deleted
	suspects []suspect

	progress *guarded
}

// AuditObjects checks the next objects of a run. A call that ends early, because its
// worker stops or an operator pauses it, fails, and is made again: what it has found is
// nowhere else, and a second look costs less than keeping it.
func (a *Auditor) AuditObjects(ctx context.Context, in Call) (Progress, error) {
	going, cancel := longcall.WithWorkerStop(ctx)
	defer cancel()
	r := &run{
		auditor: a, call: longcall.Begin(ctx), in: in, pace: rate.NewLimiter(rate.Limit(in.Request.Rate), lookUpRecords),
		at: map[backup.Shard]*telemetry.Checkpoint{}, deleted: snapshot.NewDeleted(a.Retention),
		progress: &guarded{progress: Progress{After: in.After, Worker: a.Worker}},
	}
	defer r.call.Abandon()
	defer r.call.StopWith(going)()
	defer longcall.Heartbeat(ctx, func() any { return r.state() })()
	if !r.audit() {
		if err := ctx.Err(); err != nil { // canceled or paused
			return Progress{}, err //nolint:wrapcheck // as the SDK knows it
		}
		_, last := r.call.Stall.State()
		if last == "" {
			last = "see the next attempt"
		}
		return Progress{}, fmt.Errorf("audit the backup: %w: %s", longcall.ErrStopped, last)
	}
	result := r.state()
	result.LastError = ""
	result.report(ctx)
	return result, nil
}

// audit checks the objects; false if it was stopped.
func (r *run) audit() bool {
	if skip, known := r.recovering(); skip || !known {
		return known
	}
	var all []chosen
	list := func() (err error) {
		all, err = r.choose(r.call.Going)
		return err
	}
	if !r.look() || !r.call.Retry(listing, list) {
		return false
	}
	return r.checkAll(all) && r.settle()
}

// checkAll checks objects, whose turn it is, until one of the limits is reached.
func (r *run) checkAll(all []chosen) bool {
	checked := 0
	for n, object := range all {
		if object.turn <= r.in.After {
			continue
		}
		counts := r.state().Counts
		limits := r.in.Request
		if counts.Objects >= limits.Objects || counts.Bytes >= limits.Bytes || counts.Checked >= limits.Records ||
			r.in.Found+int64(len(r.suspects)) >= enoughMissing {
			r.progress.change(func(p *Progress) { p.Done, p.Left = true, p.Left+int64(len(all)-n) })
			return true
		}
		if checked == callObjects {
			return true
		}
		if !r.checkObject(object) {
			return false
		}
		checked++
		r.progress.change(func(p *Progress) { p.After = object.turn })
	}
	r.progress.change(func(p *Progress) { p.Done = true })
	return true
}

// recovering looks for a recovery, and gives the call up if there is one.
func (r *run) recovering() (skip, known bool) {
	ask := func() (err error) {
		skip, err = r.auditor.Workflows.Recovering(r.call.Going)
		return err
	}
	if known = r.call.Retry(recovered, ask); skip && known {
		const why = "a recovery is open: indices may lack what it is bringing back"
		slog.Info("the audit of the backup is skipped", "reason", why)
		r.suspects = nil
		r.progress.change(func(p *Progress) { *p = Progress{Done: true, Skipped: why, Worker: p.Worker} })
	}
	return skip, known
}

// checkpointTries is how often a shard is asked for its checkpoint: one whose workflow is
// paused in Temporal does not answer, and must not hold up the audit of the others.
const checkpointTries = 3

// checkpoint is where a shard is; false if that is not known.
func (r *run) checkpoint(ctx context.Context, shard backup.Shard) (telemetry.Checkpoint, bool) {
	at, asked := r.at[shard]
	for try := 0; !asked && try < checkpointTries; try++ {
		found, known, err := r.auditor.Workflows.Reached(ctx, telemetry.StreamID{Name: shard.Stream, Created: shard.Created}, shard.ID)
		switch {
		case err == nil && known:
			at, asked = &found, true
		case err == nil:
			asked = true
		case try == checkpointTries-1:
			slog.Warn("the checkpoint of a shard is not known: its objects are not audited", "shard", shard.ID, "error", err)
		}
	}
	r.at[shard] = at
	if at == nil {
		return telemetry.Checkpoint{}, false
	}
	return *at, true
}

func (r *run) state() Progress {
	p := r.progress.get()
	_, p.LastError = r.call.Stall.State()
	return p
}

// places are what knows of records that are not indexed, as of one look.
type places struct {
	held []telemetry.Range
	dead map[time.Time]*deadletter.Open // by the creation of their stream
}

// look begins a look.
func (r *run) look() bool {
	r.dead = map[time.Time]*deadletter.Open{}
	return r.call.Retry(batches, func() (err error) {
		r.held, err = r.auditor.Workflows.OpenBatches(r.call.Work, r.auditor.Stream, time.Now())
		return err
	})
}

// isHeld reports whether an open ProcessBatch has a record.
func (p places) isHeld(shard backup.Shard, sequence string) bool {
	for _, r := range p.held {
		if r.StreamCreated.Unix() == shard.Created.Unix() && r.Shard == shard.ID && r.Contains(sequence) {
			return true
		}
	}
	return false
}

// isDead reports whether the open ledger has a record; known is false if the call was
// stopped.
func (r *run) isDead(shard backup.Shard, sequence string) (dead, known bool) {
	open := r.dead[shard.Created]
	if open == nil {
		open = deadletter.NewOpen(r.auditor.Ledger, telemetry.StreamID{Name: shard.Stream, Created: shard.Created})
		r.dead[shard.Created] = open
	}
	return open.HasInAnyForm(r.call, shard.ID, sequence)
}
