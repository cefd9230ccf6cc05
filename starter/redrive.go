package main

import (
	"context"
	"fmt"
	"strings"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"millrace/activities/redrive"
	"millrace/internal/config"
	"millrace/internal/control"
	"millrace/workflows"
)

type redriveCommands struct {
	Start  redriveStart  `cmd:"" help:"Start Redrive."`
	Stop   redriveStop   `cmd:"" help:"Stop Redrive. Records that are not in the stream yet stay in the queue."`
	Pause  redrivePause  `cmd:"" help:"Pause Redrive. Records that it holds go back to the queue."`
	Resume redriveResume `cmd:"" help:"Resume Redrive. Pauses of other owners stay."`
	Status redriveStatus `cmd:"" help:"Show whether Redrive runs, and its counts."`
}

func redriving(c client.Client, r *config.Resources) endless {
	return endless{c, workflows.RedriveID(r.Queue), workflows.RedriveQueue}
}

type redriveStart struct{}

// Run starts Redrive.
func (redriveStart) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return redriving(c, r).startAndSay(ctx, out, "redrive", "queue "+r.Queue, workflows.Redrive, workflows.RedriveInput{Queue: r.Queue})
}

type redriveStop struct{ wait }

// Run cancels Redrive.
func (s redriveStop) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return redriving(c, r).stopAndSay(ctx, out, s.Wait)
}

// queueStatus is what Redrive says, and whether it runs.
type queueStatus struct {
	Workflow  string `json:"workflow"`
	Execution string `json:"execution"` // Temporal's word for it, or absent
	workflows.RedriveStatus
}

type redrivePause struct {
	pause
	wait
	format
}

// Run pauses Redrive.
func (s redrivePause) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandRedrive(ctx, c, r, out, s.command(), s.wait, s.format)
}

type redriveResume struct {
	signed
	wait
	format
}

// Run resumes Redrive.
func (s redriveResume) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandRedrive(ctx, c, r, out, s.resume(), s.wait, s.format)
}

func commandRedrive(ctx context.Context, c client.Client, r *config.Resources, out output, command control.Command, w wait, f format) error {
	redrive := redriving(c, r)
	status := queueStatus{Workflow: redrive.id, Execution: executionRunning}
	if done, err := redrive.obey(ctx, out, command, w, &status.RedriveStatus); err != nil || !done {
		return err
	}
	return f.print(out, status, func() { fmt.Fprintln(out, obeyed(redrive.id, status.State, status.Holds)) })
}

type redriveStatus struct{ format }

// Run prints the status of Redrive.
func (s redriveStatus) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	status, err := statusOfQueue(ctx, c, r)
	if err != nil {
		return err
	}
	return s.print(out, status, func() { status.write(out) })
}

func statusOfQueue(ctx context.Context, c client.Client, r *config.Resources) (status queueStatus, err error) {
	w := redriving(c, r)
	status.Workflow, status.Queue = w.id, r.Queue
	if status.Execution, err = w.execution(ctx); err != nil || status.Execution == executionAbsent {
		return status, err
	}
	if err := w.query(ctx, &status.RedriveStatus); err != nil {
		return status, unasked(status.Execution, err)
	}
	if status.Execution == executionRunning {
		err = status.live(ctx, w)
	}
	return status, err
}

// live brings the figures up to date with the last heartbeat of the call of
// RedriveMessages that runs at the moment.
func (s *queueStatus) live(ctx context.Context, w endless) error {
	described, err := w.client.DescribeWorkflowExecution(ctx, w.id, "")
	if err != nil {
		return fmt.Errorf("describe %s: %w", w.id, err)
	}
	for _, pending := range described.GetPendingActivities() {
		var now redrive.Progress
		if pending.GetHeartbeatDetails() == nil ||
			converter.GetDefaultDataConverter().FromPayloads(pending.GetHeartbeatDetails(), &now) != nil {
			continue
		}
		s.Counts, s.Pace, s.Worker, s.LastError = now.Counts, now.Pace, now.Worker, now.LastError
	}
	return nil
}

func (s queueStatus) write(out output) {
	if s.Execution == executionAbsent {
		fmt.Fprintf(out, "%s: never started, see `starter redrive start`\n", s.Workflow)
		return
	}
	state := s.State
	if s.Execution != executionRunning {
		state = "stopped (" + strings.ToLower(s.Execution) + ")"
	}
	pace := "-"
	if s.Pace > 0 {
		pace = fmt.Sprintf("%.0f records a second, since the stream throttles", s.Pace)
	}
	table(out,
		[]string{"workflow", s.Workflow}, []string{"state", state}, []string{"paused by", orDash(holds(s.Holds))},
		[]string{"messages", fmt.Sprint(s.Counts.Messages)},
		[]string{"records", fmt.Sprint(s.Counts.Records)},
		[]string{"  sent back", fmt.Sprint(s.Counts.Returned)},
		[]string{"  dead letters", fmt.Sprint(s.Counts.Dead)},
		[]string{"bounded to", pace},
		[]string{"worker", orDash(s.Worker)}, []string{"last error", orDash(s.LastError)},
	)
}
