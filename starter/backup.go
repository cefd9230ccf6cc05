package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"millrace/internal/config"
	"millrace/internal/control"
	"millrace/workflows"
	"millrace/workflows/launch"
)

type backupCommands struct {
	Start  backupStart  `cmd:"" help:"Start BackupStream, which continues at its checkpoints."`
	Stop   backupStop   `cmd:"" help:"Stop the backup. Every shard writes the records it holds and keeps its checkpoint."`
	Pause  backupPause  `cmd:"" help:"Pause the backup. Every shard writes the records it holds; processing continues."`
	Resume backupResume `cmd:"" help:"Resume the backup. Pauses of other owners stay."`
	Status backupStatus `cmd:"" help:"Show whether the backup runs, and its position in each shard."`
}

func backingUp(c client.Client, r *config.Resources) endless {
	return endless{c, workflows.BackupStreamID(r.Stream), workflows.BackupQueue}
}

type backupStart struct {
	CallFor time.Duration `help:"How long a worker keeps a shard before another may take it." default:"${backup_for}"`
}

// Validate reports what cannot work.
func (b backupStart) Validate() error {
	if b.CallFor < time.Second {
		return fmt.Errorf("--call-for: %v is less than a second", b.CallFor)
	}
	return nil
}

// Run starts BackupStream.
func (b backupStart) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return backingUp(c, r).startAndSay(ctx, out, "backup", "backup of stream "+r.Stream, workflows.BackupStream,
		workflows.StreamInput{Stream: r.Stream, CallFor: b.CallFor})
}

type backupStop struct{ wait }

// Run cancels BackupStream, which cancels all BackupShard.
func (b backupStop) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return backingUp(c, r).stopAndSay(ctx, out, b.Wait)
}

type backupPause struct {
	pause
	wait
	format
}

// Run pauses the backup.
func (b backupPause) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandBackup(ctx, c, r, out, b.command(), b.wait, b.format)
}

type backupResume struct {
	signed
	wait
	format
}

// Run resumes the backup.
func (b backupResume) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandBackup(ctx, c, r, out, b.resume(), b.wait, b.format)
}

// commandBackup has BackupStream, and with it all shards, obey.
func commandBackup(ctx context.Context, c client.Client, r *config.Resources, out output, command control.Command, w wait, f format) error {
	b := backingUp(c, r)
	status := backupReport{streamStatus: streamStatus{Workflow: b.id, Execution: executionRunning}}
	if done, err := b.obey(ctx, out, command, w, &status.StreamStatus); err != nil || !done {
		return err
	}
	if err := status.ask(ctx, c); err != nil {
		return err
	}
	return f.print(out, status, func() {
		fmt.Fprintln(out, obeyed(fmt.Sprintf("%s, %d shards", b.id, len(status.Shards)), status.State, status.Holds))
	})
}

type backupStatus struct{ format }

// backupReport is what BackupStream says, and each of its shards.
type backupReport struct {
	streamStatus
	Backups []workflows.BackupShardStatus `json:"backups"`
}

// ask asks each shard that has a workflow.
func (b *backupReport) ask(ctx context.Context, c client.Client) error {
	launcher := launch.Backup{Launcher: launch.Launcher{Client: c}}
	b.Backups = make([]workflows.BackupShardStatus, len(b.Shards))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(looksAtOnce)
	for i, shard := range b.Shards {
		group.Go(func() error {
			status := &b.Backups[i]
			status.Stream, status.Shard, status.State = b.Stream.Name, shard.ID, shard.State
			state, err := launcher.Look(asking, b.Stream, shard.ID)
			if err != nil || state == "" {
				return err
			}
			known, err := launcher.ShardStatus(asking, b.Stream, shard.ID)
			var paused *launch.PausedError
			if errors.As(err, &paused) { // it does not say how far it is
				status.PauseBy(paused.Pause)
				b.Shards[i].State = status.State
				return nil
			}
			if err != nil {
				return advise(err, workflows.BackupQueue)
			}
			*status = known
			if state == control.StateClosed { // it does not know itself
				status.State = state
			}
			if idle := status.State == control.StatePaused || status.State == control.StateClosed; idle && !status.Checkpoint.ReadUpTo.IsZero() {
				status.LagSeconds = time.Since(status.Checkpoint.ReadUpTo).Seconds() // it grows while no worker reads the shard
			}
			b.Shards[i].State = status.State
			return nil
		})
	}
	return group.Wait()
}

// Run prints the status of the backup.
func (b backupStatus) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	status, err := statusOfConsumer(ctx, backingUp(c, r), r)
	if err != nil {
		return err
	}
	report := backupReport{streamStatus: status}
	if err := report.ask(ctx, c); err != nil {
		return err
	}
	return b.print(out, report, func() { report.write(out) })
}

func (b backupReport) write(out output) {
	switch b.Execution {
	case executionAbsent:
		fmt.Fprintf(out, "%s: never started, see `starter backup start`\n", b.Workflow)
		return
	case executionRunning:
		fmt.Fprintf(out, "%s: %s\n", b.Workflow, b.State)
	default:
		fmt.Fprintf(out, "%s: stopped (%s)\n", b.Workflow, strings.ToLower(b.Execution))
	}
	if len(b.Holds) > 0 {
		fmt.Fprintf(out, "paused by %s\n", holds(b.Holds))
	}
	rows := [][]string{{"SHARD", "STATE", "BACKED UP TO", "LAG", "RECORDS", "OBJECTS", "BYTES", "COMPRESSED", "LOSSES", "WORKER", "LAST ERROR"}}
	for _, s := range b.Backups {
		lag := "-"
		if !s.Checkpoint.ReadUpTo.IsZero() && !s.Checkpoint.Closed {
			lag = time.Duration(s.LagSeconds * float64(time.Second)).Round(time.Second).String()
		}
		rows = append(rows, []string{
			s.Shard, s.State, clock(s.Checkpoint.ReadUpTo), lag, fmt.Sprint(s.Counts.Records), fmt.Sprint(s.Counts.Objects),
			fmt.Sprint(s.Counts.Bytes), fmt.Sprint(s.Counts.Stored), fmt.Sprint(s.Counts.Losses), orDash(s.Worker), orDash(oneLine(s.LastError)),
		})
	}
	table(out, rows...)
}
