package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/recovery"
	"millrace/internal/control"
	"millrace/workflows"
	"millrace/workflows/launch"
)

type recoverCommands struct {
	Start   recoverStart   `cmd:"" default:"withargs" help:"Restore what is missing, index later records from the backup, and verify. Shows progress until the recovery ends."`
	Status  recoverStatus  `cmd:"" help:"Show the progress of the recovery, or the result of the last one."`
	Pause   recoverPause   `cmd:"" help:"Pause the recovery."`
	Resume  recoverResume  `cmd:"" help:"Resume the recovery."`
	Cancel  recoverCancel  `cmd:"" help:"Cancel the recovery. Records in flight complete, and shards continue. Another recovery continues from there."`
	SetRate recoverSetRate `cmd:"" help:"Change the rate of the recovery."`
}

func recovering(c client.Client) endless {
	return endless{c, workflows.RecoverID, workflows.RecoverQueue}
}

// sweepFlags are those that recover and replay have in common.
type sweepFlags struct {
	Indices   []string  `help:"Names or patterns of indices; default: all." placeholder:"telemetry-span-*"`
	Into      string    `help:"Append this to the name of each index, so that existing indices stay unchanged." placeholder:"SUFFIX"`
	From      time.Time `help:"Backfill records that arrived at this time or later." format:"2006-01-02T15:04:05Z07:00" placeholder:"2026-11-23T13:00:00Z"`
	To        time.Time `help:"Backfill records that arrived up to this time." format:"2006-01-02T15:04:05Z07:00" placeholder:"2026-11-23T14:00:00Z"`
	Tenant    string    `help:"Backfill only this tenant's records."`
	Inventory string    `help:"Read the objects from the manifest.json of an S3 Inventory: a key, or s3://bucket/key." placeholder:"KEY"`
	Mode      string    `help:"direct: into the index; ingest: through the stream, whose shards index what is missing." enum:"direct,ingest" default:"direct"`
	Rate      float64   `help:"Records a second; 0: yield to live traffic." default:"0"`
	Lanes     int       `help:"Pages of 1,000 objects in progress at once." default:"${lanes}"`
	Follow    bool      `help:"Show progress until it ends." default:"true" negatable:""`
}

func (s sweepFlags) input() workflows.RecoverInput {
	return workflows.RecoverInput{
		RecoverRequest: recovery.RecoverRequest{
			Indices: s.Indices, Into: s.Into, From: s.From, To: s.To, Tenant: s.Tenant, Inventory: s.Inventory, Mode: s.Mode,
		},
		Rate: s.Rate, Lanes: s.Lanes,
	}
}

type recoverStart struct {
	Snapshot   string        `help:"Snapshot to restore; default: the last good one." placeholder:"NAME"`
	Before     time.Time     `help:"Restore the last good snapshot that began before this time." format:"2006-01-02T15:04:05Z07:00" placeholder:"2026-11-23T13:00:00Z"`
	NoSnapshot bool          `help:"Restore no snapshot; index everything from the backup."`
	Replace    bool          `help:"Also replace indices that are healthy and older than the snapshot."`
	DryRun     bool          `help:"Print the plan, and change nothing."`
	Lease      time.Duration `help:"How long shards stay paused without a sign of the recovery." default:"${lease}"`
	BackupWait time.Duration `help:"How long to wait for the backup before records that it lacks count as missing." default:"${backup_wait}"`
	CallFor    time.Duration `help:"How long a worker keeps a page before it reports progress." default:"${sweep_for}"`
	sweepFlags
	format
	confirmation
}

func (s recoverStart) input() workflows.RecoverInput {
	in := s.sweepFlags.input()
	in.Snapshot, in.Before, in.NoSnapshot, in.Replace = s.Snapshot, s.Before, s.NoSnapshot, s.Replace
	in.DryRun, in.Lease, in.BackupWait, in.CallFor = s.DryRun, s.Lease, s.BackupWait, s.CallFor
	return in
}

// Validate reports what cannot be meant.
func (s recoverStart) Validate() error {
	in := s.input()
	return errors.Join(in.Validate(), in.ValidateRestore())
}

// Run starts Recover and follows it.
func (s recoverStart) Run(ctx context.Context, c client.Client, out output) error {
	if s.Replace && !s.DryRun {
		if err := s.ask(out, "replace indices that are healthy: what was indexed since the snapshot is gone until the backfill brings it back"); err != nil {
			return err
		}
	}
	return startSweep(ctx, out, recovering(c), "recovery", workflows.Recover, s.input(), s.Follow || s.DryRun, s.format)
}

type replayCommand struct {
	sweepFlags
	format
}

// Validate reports what cannot be meant.
func (s replayCommand) Validate() error {
	if s.From.IsZero() || s.To.IsZero() {
		return errors.New("--from, --to: say which time is to be replayed")
	}
	return s.input().Validate()
}

// Run starts Replay and follows it.
func (s replayCommand) Run(ctx context.Context, c client.Client, out output) error {
	name := s.From.UTC().Format("20060102T150405") + "-" + s.To.UTC().Format("20060102T150405")
	if s.Into != "" {
		name += "-" + s.Into
	}
	w := endless{c, workflows.ReplayID(name), workflows.RecoverQueue}
	return startSweep(ctx, out, w, "replay", workflows.Replay, s.input(), s.Follow, s.format)
}

// startSweep starts a recovery or a replay. One that runs already is another
// one's: it is refused, with its id.
func startSweep(ctx context.Context, out output, w endless, summary string, function any, in workflows.RecoverInput, follow bool, f format) error {
	run, err := w.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: w.id, TaskQueue: w.queue, StaticSummary: summary,
		WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_FAIL, WorkflowExecutionErrorWhenAlreadyStarted: true,
		TypedSearchAttributes: temporal.NewSearchAttributes(workflows.Stage.ValueSet("recover")),
	}, function, in)
	var already *serviceerror.WorkflowExecutionAlreadyStarted
	if errors.As(err, &already) {
		return fmt.Errorf("start %s: one runs already, run %s: see `starter recover status`", w.id, already.RunId)
	}
	if err != nil {
		return fmt.Errorf("start %s: %w", w.id, advise(err, w.queue))
	}
	if !f.JSON {
		fmt.Fprintf(out, "%s: started, run %s\n", w.id, run.GetRunID())
		if !w.polled(ctx) {
			fmt.Fprintf(out, "No worker polls %s yet: it goes on once one is started.\n", w.queue)
		}
	}
	if !follow {
		return nil
	}
	return w.follow(ctx, out, run, f)
}

type recoverStatus struct{ format }

// Run prints how far the recovery is.
func (s recoverStatus) Run(ctx context.Context, c client.Client, out output) error {
	w := recovering(c)
	execution, err := w.execution(ctx)
	if err != nil {
		return err
	}
	if execution == executionAbsent {
		fmt.Fprintf(out, "%s: there was none, see `starter recover`\n", w.id)
		return nil
	}
	progress, err := launch.Launcher{Client: c}.RecoverProgress(ctx, w.id)
	if err != nil {
		return unasked(execution, advise(err, w.queue))
	}
	status := recoveryStatus{RecoverProgress: progress}
	if status.StartedBy, err = startedBy(ctx, c, w.id); err != nil {
		return err
	}
	if execution == executionRunning {
		return s.print(out, status, func() { status.write(out) })
	}
	if !s.JSON {
		status.write(out)
	}
	return w.conclude(ctx, out, w.client.GetWorkflow(ctx, w.id, ""), s.format)
}

type recoverPause struct {
	pause
	wait
}

// Run pauses the recovery.
func (s recoverPause) Run(ctx context.Context, c client.Client, out output) error {
	return commandRecovery(ctx, c, out, s.command(), s.wait)
}

type recoverResume struct {
	signed
	wait
}

// Run resumes the recovery.
func (s recoverResume) Run(ctx context.Context, c client.Client, out output) error {
	return commandRecovery(ctx, c, out, s.resume(), s.wait)
}

func commandRecovery(ctx context.Context, c client.Client, out output, command control.Command, limit wait) error {
	w := recovering(c)
	var progress workflows.RecoverProgress
	if done, err := w.obey(ctx, out, command, limit, &progress); err != nil || !done {
		return err
	}
	fmt.Fprintln(out, obeyed(w.id, progress.State, progress.Holds))
	return nil
}

type recoverSetRate struct {
	Rate float64 `arg:"" help:"Records a second; 0: yield to live traffic."`
	wait
}

// Run tells the recovery its rate.
func (s recoverSetRate) Run(ctx context.Context, c client.Client, out output) error {
	w := recovering(c)
	waiting, cancel := context.WithTimeout(ctx, max(s.Wait, time.Second))
	defer cancel()
	update, err := c.UpdateWorkflow(waiting, client.UpdateWorkflowOptions{
		WorkflowID: w.id, UpdateName: workflows.SetRate, Args: []any{workflows.RateInput{Rate: s.Rate}},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = update.Get(waiting, nil)
	}
	if err != nil {
		return fmt.Errorf("set the rate of %s: %w", w.id, s.explain(waiting, err, w.queue))
	}
	fmt.Fprintf(out, "%s: %s\n", w.id, rateText(s.Rate))
	return nil
}

func rateText(limit float64) string {
	if limit == 0 {
		return "as quick as live traffic does not feel"
	}
	return fmt.Sprintf("at %.0f records a second at the most", limit)
}

type recoverCancel struct{ wait }

// Run cancels the recovery.
func (s recoverCancel) Run(ctx context.Context, c client.Client, out output) error {
	return recovering(c).stopAndSay(ctx, out, s.Wait)
}
