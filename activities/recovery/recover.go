package recovery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"

	"millrace/activities/process"
	"millrace/internal/backup"
	"millrace/internal/control"
	"millrace/internal/index"
	"millrace/internal/longcall"
	"millrace/internal/snapshot"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Recoverer is what the activities of Recover and Replay need.
type Recoverer struct {
	Sweeper
	BucketName string // of the backup
	Repository string // of snapshots, where none is named
	// Backup is the part of its bucket behind a prefix, Other another bucket.
	Backup  func(prefix string) backup.Described
	Other   func(bucket string) backup.Objects
	Catalog func(repository string) Catalog
	Cluster Cluster
	Batches OpenBatches
	History ShardHistory
	// Positions is how far the backup is, by the word of who writes it.
	Positions BackupPositions
	// Patience is for how long the repository may be away during a restore;
	// DefaultPatience when zero.
	Patience time.Duration
	// Delivery is after how long Firehose has written what had arrived;
	// DefaultDelivery when zero.
	Delivery time.Duration
}

// Cluster restores snapshots. See index.Client.
type Cluster interface {
	// Ready wraps index.ErrNoTemplates where new indices would have no mapping.
	Ready(ctx context.Context) error
	Indices(ctx context.Context, patterns ...string) (map[string]index.State, error)
	Refresh(ctx context.Context, patterns ...string) error
	DeleteIndex(ctx context.Context, name string) error
	GetRepository(ctx context.Context, name string) (index.Repository, error)
	EnsureRepository(ctx context.Context, r index.Repository) (created bool, err error)
	GetSnapshot(ctx context.Context, repository, name string) (index.Snapshot, error)
	StartRestore(ctx context.Context, repository, name string, r index.Restore) error
	Recovery(ctx context.Context, pattern string, indices []string) (index.Progress, error)
	// CountSent counts documents by when they were sent.
	CountSent(ctx context.Context, asked []index.Sent) ([]int64, error)
	// LongestBulk is how long a bulk may be at work.
	LongestBulk() time.Duration
}

// OpenBatches says which ProcessBatch workflows were open at a time. See
// ShardPositions.
type OpenBatches interface {
	OpenBatches(ctx context.Context, stream telemetry.StreamID, at time.Time) ([]telemetry.Range, error)
}

// ShardHistory says which shards have been processed, of all streams that a name
// has had, as far back as that is known: ranges without numbers. See ShardPositions.
type ShardHistory interface {
	ProcessedShards(ctx context.Context, stream string) ([]telemetry.Range, error)
}

// BackupPositions says how far the backup is.
type BackupPositions interface {
	// Reached returns the checkpoint of a shard's backup; zero if it has none.
	Reached(ctx context.Context, stream telemetry.StreamID, shard string) (telemetry.Checkpoint, error)
}

// StreamShards are the shards of the stream. See stream.Stream.
type StreamShards interface {
	stream.Lister
	// CurrentRetention is how long the stream keeps a record: an operator may
	// have changed it since the worker was started.
	CurrentRetention(ctx context.Context) time.Duration
}

// StreamWorkflows are the workflows that process a stream.
type StreamWorkflows interface {
	// CommandStream has ProcessStream obey, and all its shards, and waits until
	// that is done; false if it does not run.
	CommandStream(ctx context.Context, stream telemetry.StreamID, command control.Command) (running bool, err error)
	// Paused describes what of ProcessStream, and of the workflows of these shards, is
	// paused in Temporal, and obeys no command.
	Paused(ctx context.Context, stream telemetry.StreamID, shards []string) ([]string, error)
	// Command does so with one shard. That it does not run is success.
	Command(ctx context.Context, stream telemetry.StreamID, shard string, command control.Command) error
	// Reached returns the checkpoint of a shard; false if it has no workflow.
	Reached(ctx context.Context, stream telemetry.StreamID, shard string) (telemetry.Checkpoint, bool, error)
	// Live returns what a shard has said last, nothing if it is between two calls
	// of IndexShard; false if none of its records is to be indexed now.
	Live(ctx context.Context, stream telemetry.StreamID, shard string) (process.Progress, bool, error)
}

// InvalidRequest is the type of an error that no retry helps against.
const InvalidRequest = "InvalidRequest"

func invalid(format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), InvalidRequest, nil)
}

// PlanInput is what a plan is made of.
type PlanInput struct {
	ID      string         `json:"id"`
	Request RecoverRequest `json:"request"`
	Replay  bool           `json:"replay,omitempty"`
	// Freeze writes the plan and its list into the bucket. Else nothing is
	// changed, but that a new cluster learns the repository, unless DryRun.
	Freeze bool `json:"freeze,omitempty"`
	DryRun bool `json:"dryRun,omitempty"`
	// Reached are the checkpoints of the shards that are paused; nil: those of
	// this moment.
	Reached map[string]telemetry.Checkpoint `json:"reached,omitempty"`
	// Normal is the Plan's, if it is known: while shards are paused it is not to
	// be had.
	Normal float64 `json:"normalSeconds,omitempty"`
	// Rate is the one that is given, in records a second; zero: none is.
	Rate float64 `json:"rate,omitempty"`
}

// PlanRecovery finds out what there is to be done.
func (r *Recoverer) PlanRecovery(ctx context.Context, in PlanInput) (Plan, error) {
	defer longcall.Heartbeat(ctx, func() any { return "planning" })()
	err := in.Request.Validate()
	if !in.Replay {
		err = errors.Join(err, in.Request.ValidateRestore())
	}
	if err != nil {
		return Plan{}, invalid("%v", err)
	}
	plan := Plan{
		ID: in.ID, Made: time.Now().UTC(), Papers: Papers(in.ID), Replay: in.Replay, Indices: in.Request.Indices,
		Suffix: in.Request.suffix(), Tenant: in.Request.Tenant, Prefix: backup.Prefix, Mode: in.Request.Mode, Normal: in.Normal,
		Rate: in.Rate,
	}
	if plan.Rate == 0 {
		plan.Rate = assumedRate
	}
	// A restore brings no templates, and a new cluster has none.
	if err := r.Cluster.Ready(ctx); errors.Is(err, index.ErrNoTemplates) && in.DryRun {
		plan.Warnings = append(plan.Warnings, "starter setup is to be run first: "+err.Error())
	} else if errors.Is(err, index.ErrNoTemplates) {
		return plan, invalid("%v: run `starter setup` for this cluster, and then recover", err)
	} else if err != nil {
		return plan, err
	}
	if !in.Replay && in.Reached == nil {
		if err := r.refusePaused(ctx); err != nil {
			return plan, err
		}
	}
	if plan.Normal == 0 {
		live, err := r.liveDelay(ctx)
		if err != nil {
			return plan, err
		}
		plan.Normal = live.Seconds
	}
	if in.Replay {
		plan.Window = backup.Window{From: in.Request.From, To: in.Request.To, Stream: r.Stream.Name, Created: r.Stream.Created}
	} else if err := r.planRestore(ctx, in, &plan); err != nil {
		return plan, err
	}
	if in.Replay && in.Freeze {
		plan, err = r.freezeReplay(ctx, plan, in.Request.Inventory)
	} else {
		plan, err = r.freeze(ctx, plan, in.Request.Inventory, SweepBackfill, in.Freeze, nil)
	}
	if err != nil {
		return plan, err
	}
	if plan.Objects == 0 {
		plan.Warnings = append(plan.Warnings, "the backup has no object of the window: does BackupStream run, or Firehose write below "+plan.Prefix+" ?")
	}
	if in.Freeze {
		if err := r.writePaper(ctx, plan.Papers+planFile, plan); err != nil {
			return plan, err
		}
	}
	return plan.brief(), nil
}

// freezeReplay freezes the list of a replay, and says what it lacks: what the
// backup has not come to, and where its chains are broken.
func (r *Recoverer) freezeReplay(ctx context.Context, plan Plan, inventory string) (Plan, error) {
	until := plan
	if plan.Made.Before(plan.Window.To) {
		until.Window.To = plan.Made // nothing of later is wanted of it yet
	}
	behind, err := r.look(ctx, until) // before it is listed: what comes meanwhile is in it, and does no harm
	if err == nil {
		err = r.lookAtOthers(ctx, until, &behind)
	}
	if err != nil {
		return plan, err
	}
	breaks := backup.FindBreaks(r.Backup(plan.Prefix), plan.Window)
	if plan, err = r.freeze(ctx, plan, inventory, SweepBackfill, true, breaks); err != nil {
		return plan, err
	}
	found, err := breaks.End(ctx)
	if err != nil {
		return plan, err
	}
	plan.Broken, err = r.writeBreaks(ctx, plan, SweepBackfill, behind.gaps(plan), found)
	return plan, err
}

func (r *Recoverer) writePaper(ctx context.Context, key string, value any) error {
	body, err := json.MarshalIndent(value, "", " ")
	if err == nil {
		err = r.Bucket.Put(ctx, key, body)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	return nil
}

// planRestore chooses snapshot, indices and window.
func (r *Recoverer) planRestore(ctx context.Context, in PlanInput, plan *Plan) error {
	plan.Repository = r.Repository
	record, found, err := choose(ctx, r.Catalog(plan.Repository), in.Request)
	if errors.Is(err, snapshot.ErrNone) {
		return invalid("%v: see `starter snapshot list`, or recover from the backup alone with noSnapshot", err)
	}
	if err != nil {
		return err
	}
	if found {
		if err := r.addOpen(ctx, &record); err != nil {
			return err
		}
		recovered, err := snapshot.ReadBasis(ctx, r.Bucket)
		if err != nil {
			return err
		}
		recovered.Rebase(record)
		plan.Snapshot, plan.Began = record.Name, record.Started
		if record.Suspect != "" {
			plan.Warnings = append(plan.Warnings, "the snapshot is suspect: "+record.Suspect)
		}
		known, err := r.ensureRepository(ctx, in.DryRun, plan)
		if err == nil && known {
			err = r.readSnapshot(ctx, *plan)
		}
		if err != nil {
			return err
		}
		if err := r.planIndices(ctx, in.Request, record, plan); err != nil {
			return err
		}
		if asked := in.Request.Indices; len(asked) > 0 && !slices.ContainsFunc(index.Names(record.Indices), func(name string) bool { return matches(asked, name) }) {
			plan.Warnings = append(plan.Warnings, "no index of the snapshot matches "+strings.Join(asked, ", "))
		}
		if plan.More, err = r.earlier(ctx, *plan); err != nil {
			return err
		}
	} else {
		plan.Warnings = append(plan.Warnings, "no snapshot is restored: everything comes from the backup")
	}
	reached := in.Reached
	if reached == nil {
		if reached, err = r.checkpoints(ctx); err != nil {
			return err
		}
	}
	plan.Window = window(in.Request, r.Stream, record, found, reached, r.Shards.CurrentRetention(ctx), plan.Made)
	return nil
}

// addOpen adds to a snapshot's record the ranges that were open when it was begun,
// and of which Temporal knew only after it was taken: under load it lists a
// workflow later than any fixed wait, and no process may have looked since.
func (r *Recoverer) addOpen(ctx context.Context, record *snapshot.Record) error {
	open, err := r.Batches.OpenBatches(ctx, r.Stream, record.Started)
	if err == nil && record.AddOpen(open) {
		slog.InfoContext(ctx, "batches were open at a snapshot that its record does not name", "snapshot", record.Name, "open", len(record.Open))
	}
	return err
}

// planIndices decides about each index of a snapshot.
func (r *Recoverer) planIndices(ctx context.Context, request RecoverRequest, record snapshot.Record, plan *Plan) error {
	states, err := r.Cluster.Indices(ctx, telemetry.IndexPrefix+"*")
	if err != nil {
		return err
	}
	plan.Keep = map[string]string{}
	var kept []string
	for _, name := range index.Names(record.Indices) {
		of := record.Indices[name]
		if !matches(request.Indices, name) {
			plan.Keep[name] = "not asked for"
			continue
		}
		gone, err := snapshot.GoneOf(ctx, r.Bucket, name)
		if err != nil {
			return err
		}
		if gone.Retired.After(record.Started) {
			plan.Keep[name] = "retention has deleted it"
			continue
		}
		state, there := states[name+plan.Suffix]
		one := IndexPlan{Name: name, Documents: of.Documents, Created: of.Created, Delete: there, UUID: state.UUID, Trimmed: gone.Trimmed}
		switch {
		case there && plan.Suffix != "":
			return invalid("into: there is an index %s already: choose another suffix, or delete it", name+plan.Suffix)
		case !there:
			one.Why = "missing"
		case state.Red():
			one.Why = "red"
		case state.Created.After(of.Created): // it was deleted, and made again
			one.Why = "younger than the snapshot"
		case request.Replace:
			one.Why = "to be replaced"
		default:
			plan.Keep[name] = "healthy and older than the snapshot (replace would replace it)"
			wanted := of.Documents - max(0, gone.Trimmed-of.Trimmed)
			if state.Documents >= 0 && state.Documents < wanted {
				plan.fewer(Restored{Index: name, Documents: state.Documents, Wanted: wanted}, "")
			} else {
				kept = append(kept, name)
			}
			continue
		}
		plan.Restore = append(plan.Restore, one)
	}
	return r.keepSettled(ctx, kept, record, plan)
}

// ExtendInput is about a window whose end has moved.
type ExtendInput struct {
	Papers  string                          `json:"papers"`
	Request RecoverRequest                  `json:"request"`
	Reached map[string]telemetry.Checkpoint `json:"reached"`
}

// ExtendWindow moves the end of a plan's window, and lists anew: shards went on
// during the restore, because the lease of their pause had run out.
func (r *Recoverer) ExtendWindow(ctx context.Context, in ExtendInput) (Plan, error) {
	defer longcall.Heartbeat(ctx, func() any { return "listing anew" })()
	plan, err := readPlan(ctx, r.Bucket, in.Papers)
	if err != nil {
		return plan, err
	}
	var record snapshot.Record
	found := plan.Snapshot != ""
	if found {
		if record, err = r.Catalog(plan.Repository).Get(ctx, plan.Snapshot); err == nil {
			err = r.addOpen(ctx, &record)
		}
		if err != nil {
			return plan, err
		}
	}
	plan.Window = window(in.Request, r.Stream, record, found, in.Reached, r.Shards.CurrentRetention(ctx), time.Now().UTC())
	if plan, err = r.freeze(ctx, plan, in.Request.Inventory, SweepBackfill, true, nil); err != nil {
		return plan, err
	}
	err = r.writePaper(ctx, plan.Papers+planFile, plan)
	return plan.brief(), err
}

// RecoverResult is what a recovery has come to.
type RecoverResult struct {
	ID       string    `json:"id"`
	Complete bool      `json:"complete"` // nothing is missing, to the end of it
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended"`
	Plan     Plan      `json:"plan"`
	// Restored are the first of the indices that were restored, and Indices how many
	// there are.
	Restored []Restored  `json:"restored,omitempty"`
	Indices  int         `json:"restoredIndices,omitempty"`
	Backfill SweepCounts `json:"backfill"`
	Verify   SweepCounts `json:"verify,omitzero"`
	Verified bool        `json:"verified"`
	// Missing are the first of what could not be brought back; all are below
	// Papers + "verify/missing/".
	Missing []Gap  `json:"missing"`
	Papers  string `json:"papers"`
	Error   string `json:"error,omitempty"` // why it ended early
	GoOn    string `json:"goOn,omitempty"`  // what to do then
}

// Restored is an index after its restore, or without one.
type Restored struct {
	Index     string `json:"index"`
	Documents int64  `json:"documents"`
	Wanted    int64  `json:"wanted"` // that the snapshot has at the least
}

// ConcludeRecovery writes the result beside the plan.
func (r *Recoverer) ConcludeRecovery(ctx context.Context, result RecoverResult) error {
	slog.InfoContext(ctx, "a recovery has ended", "id", result.ID, "complete", result.Complete, "missing", len(result.Missing), "error", result.Error)
	plan, all, err := r.recoveredAll(ctx, result)
	if err == nil && all {
		err = errors.Join(r.forgetNoted(ctx, plan, result.Began), r.rebase(ctx, plan))
	}
	if err != nil {
		return err
	}
	return r.writePaper(ctx, result.Papers+resultFile, result)
}

// recoveredAll reports whether a recovery was complete, and of all tenants and
// times.
func (r *Recoverer) recoveredAll(ctx context.Context, result RecoverResult) (plan Plan, all bool, err error) {
	if !result.Complete || result.Plan.Replay || result.Plan.Suffix != "" || result.Plan.Tenant != "" {
		return plan, false, nil
	}
	plan, err = readPlan(ctx, r.Bucket, result.Papers)
	return plan, plan.Window.Shards != nil, err
}

// forgetNoted has the next snapshot not miss indices that a complete recovery has
// made anew.
func (r *Recoverer) forgetNoted(ctx context.Context, plan Plan, began time.Time) error {
	notes, err := snapshot.ListNoted(ctx, r.Bucket)
	if err != nil {
		return err
	}
	return snapshot.Forget(ctx, r.Bucket, slices.DeleteFunc(notes, func(n snapshot.Noted) bool {
		return !n.Created.Before(began) || !matches(plan.Indices, n.Index)
	}))
}
