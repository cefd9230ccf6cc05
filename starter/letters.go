package main

import (
	"context"
	"fmt"
	"strings"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"millrace/activities/deadletters"
	"millrace/internal/config"
	"millrace/internal/control"
	"millrace/workflows"
)

type lettersCommands struct {
	Start  lettersStart  `cmd:"" help:"Start KeepDeadLetters. starter process start does so, too."`
	Stop   lettersStop   `cmd:"" help:"Stop KeepDeadLetters. Messages stay in the queue."`
	Pause  lettersPause  `cmd:"" help:"Pause KeepDeadLetters, to read the messages yourself."`
	Resume lettersResume `cmd:"" help:"Resume KeepDeadLetters. Pauses of other owners stay."`
	Status lettersStatus `cmd:"" help:"Show whether KeepDeadLetters runs, its counts, and the messages that it cannot read."`
}

func keeping(c client.Client, r *config.Resources) endless {
	return endless{c, workflows.KeepDeadLettersID(r.DeadLetters), workflows.DeadQueue}
}

type lettersStart struct{}

// Run starts KeepDeadLetters.
func (lettersStart) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return keeping(c, r).startAndSay(ctx, out, "dead", "queue "+r.DeadLetters, workflows.KeepDeadLetters, workflows.KeepInput{Queue: r.DeadLetters})
}

type lettersStop struct{ wait }

// Run cancels KeepDeadLetters.
func (s lettersStop) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return keeping(c, r).stopAndSay(ctx, out, s.Wait)
}

// letterStatus is what KeepDeadLetters says, and whether it runs.
type letterStatus struct {
	Workflow  string `json:"workflow"`
	Execution string `json:"execution"` // Temporal's word for it, or absent
	workflows.KeepStatus
}

type lettersPause struct {
	pause
	wait
	format
}

// Run pauses KeepDeadLetters.
func (s lettersPause) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandLetters(ctx, c, r, out, s.command(), s.wait, s.format)
}

type lettersResume struct {
	signed
	wait
	format
}

// Run resumes KeepDeadLetters.
func (s lettersResume) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandLetters(ctx, c, r, out, s.resume(), s.wait, s.format)
}

func commandLetters(ctx context.Context, c client.Client, r *config.Resources, out output, command control.Command, w wait, f format) error {
	keep := keeping(c, r)
	status := letterStatus{Workflow: keep.id, Execution: executionRunning}
	if done, err := keep.obey(ctx, out, command, w, &status.KeepStatus); err != nil || !done {
		return err
	}
	return f.print(out, status, func() { fmt.Fprintln(out, obeyed(keep.id, status.State, status.Holds)) })
}

type lettersStatus struct{ format }

// Run prints the status of KeepDeadLetters.
func (s lettersStatus) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	w := keeping(c, r)
	status := letterStatus{Workflow: w.id}
	status.Queue = r.DeadLetters
	var err error
	if status.Execution, err = w.execution(ctx); err != nil {
		return err
	}
	if status.Execution != executionAbsent {
		if err := w.query(ctx, &status.KeepStatus); err != nil {
			return unasked(status.Execution, err)
		}
	}
	if status.Execution == executionRunning {
		if err := status.live(ctx, w); err != nil {
			return err
		}
	}
	return s.print(out, status, func() { status.write(out) })
}

// live brings the figures up to date with the last heartbeat.
func (s *letterStatus) live(ctx context.Context, w endless) error {
	described, err := w.client.DescribeWorkflowExecution(ctx, w.id, "")
	if err != nil {
		return fmt.Errorf("describe %s: %w", w.id, err)
	}
	for _, pending := range described.GetPendingActivities() {
		var now deadletters.KeepProgress
		if pending.GetHeartbeatDetails() != nil && converter.GetDefaultDataConverter().FromPayloads(pending.GetHeartbeatDetails(), &now) == nil {
			s.KeepProgress = now
		}
	}
	return nil
}

func (s letterStatus) write(out output) {
	if s.Execution == executionAbsent {
		fmt.Fprintf(out, "%s: never started, see `starter letters start`\n", s.Workflow)
		return
	}
	state := s.State
	if s.Execution != executionRunning {
		state = "stopped (" + strings.ToLower(s.Execution) + ")"
	}
	table(out,
		[]string{"workflow", s.Workflow}, []string{"state", state}, []string{"paused by", orDash(holds(s.Holds))},
		[]string{"messages", fmt.Sprint(s.Counts.Messages)},
		[]string{"entries written", fmt.Sprint(s.Counts.Entries)},
		[]string{"  records", fmt.Sprint(s.Counts.Records)},
		[]string{"  lost", fmt.Sprint(s.Counts.Lost)},
		[]string{"unreadable", fmt.Sprint(s.Stay)},
		[]string{"worker", orDash(s.Worker)}, []string{"last error", orDash(s.LastError)},
	)
	if len(s.Unreadable) == 0 {
		return
	}
	fmt.Fprintln(out)
	rows := [][]string{{"UNREADABLE MESSAGE", "SENT", "WHY"}}
	for _, l := range s.Unreadable {
		rows = append(rows, []string{l.ID, clock(l.Sent), l.Error})
	}
	table(out, rows...)
}
