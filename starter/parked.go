package main

import (
	"context"
	"fmt"
	"strings"

	"go.temporal.io/sdk/client"

	"millrace/internal/config"
	"millrace/internal/control"
	"millrace/internal/telemetry"
	"millrace/workflows"
	"millrace/workflows/launch"
)

type parkedCommands struct {
	List   parkedList   `cmd:"" help:"List the indices for which records are parked."`
	Show   parkedShow   `cmd:"" help:"Show how many records of an index were indexed again, and the error that holds the rest."`
	Start  parkedStart  `cmd:"" help:"Start DrainIndex for an index, if it was canceled."`
	Pause  parkedPause  `cmd:"" help:"Pause DrainIndex: parked records stay in the ledger, and the index is not tried."`
	Resume parkedResume `cmd:"" help:"Resume DrainIndex, and try the index now. Pauses of other owners stay."`
	Cancel parkedCancel `cmd:"" help:"Cancel DrainIndex: parked records stay in the ledger, until another record is parked or you start it."`
}

// indexArgument says which index is meant.
type indexArgument struct {
	Index string `arg:"" help:"Name of the index, such as telemetry-log-2026.11.23."`
}

// drain is the workflow that brings home what is parked for the index.
func (a indexArgument) drain(c client.Client) endless {
	return endless{c, workflows.DrainIndexID(a.Index), workflows.DeadQueue}
}

type parkedList struct{ format }

// parkedLine is one of the list.
type parkedLine struct {
	Index   string `json:"index"`
	State   string `json:"state"`
	Started string `json:"started"`
}

// Run lists the DrainIndex workflows that run.
func (l parkedList) Run(ctx context.Context, c client.Client, out output) error {
	running, err := listRunning(ctx, c, "DrainIndex")
	if err != nil {
		return err
	}
	lines := []parkedLine{}
	for _, info := range running {
		lines = append(lines, parkedLine{
			Index: strings.TrimPrefix(info.GetExecution().GetWorkflowId(), workflows.DrainIndexID("")),
			State: stateOf(info), Started: clock(info.GetStartTime().AsTime()),
		})
	}
	return l.print(out, lines, func() {
		if len(lines) == 0 {
			fmt.Fprintln(out, "none: every index takes its records")
			return
		}
		rows := [][]string{{"INDEX", "STATE", "STARTED"}}
		for _, line := range lines {
			rows = append(rows, []string{line.Index, line.State, line.Started})
		}
		table(out, rows...)
	})
}

// parkedStatus is what DrainIndex says, and whether it runs.
type parkedStatus struct {
	Workflow  string `json:"workflow"`
	Execution string `json:"execution"` // Temporal's word for it, or absent
	workflows.DrainStatus
}

type parkedShow struct {
	indexArgument
	format
}

// Run prints the status of an index's DrainIndex.
func (s parkedShow) Run(ctx context.Context, c client.Client, out output) (err error) {
	w := s.drain(c)
	status := parkedStatus{Workflow: w.id}
	status.Index = s.Index
	if status.Execution, err = w.execution(ctx); err != nil {
		return err
	}
	if status.Execution != executionAbsent {
		if err := w.query(ctx, &status.DrainStatus); err != nil {
			return unasked(status.Execution, err)
		}
	}
	return s.print(out, status, func() { status.write(out) })
}

func (s parkedStatus) write(out output) {
	if s.Execution == executionAbsent {
		fmt.Fprintf(out, "%s: nothing was parked for the index lately\n", s.Workflow)
		return
	}
	state := s.State
	if s.Execution != executionRunning {
		state += " (" + strings.ToLower(s.Execution) + ")"
	}
	table(out,
		[]string{"workflow", s.Workflow}, []string{"state", state}, []string{"paused by", orDash(holds(s.Holds))},
		[]string{"came home", fmt.Sprint(s.Counts.Indexed)}, []string{"were there", fmt.Sprint(s.Counts.Already)},
		[]string{"refused", fmt.Sprintf("%d, which stay in the ledger", s.Counts.Refused)},
		[]string{"resolved", fmt.Sprintf("%d entries", s.Counts.Resolved)},
		[]string{"worker", orDash(s.Worker)}, []string{"last error", orDash(s.LastError)},
	)
}

type parkedStart struct{ indexArgument }

// Run starts the DrainIndex of an index.
func (s parkedStart) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	w := s.drain(c)
	execution, err := w.execution(ctx)
	if err != nil {
		return err
	}
	// One that runs is told that there is more: it looks once more before it ends.
	if err := (launch.Launcher{Client: c}).StartDrain(ctx, telemetry.StreamID{Name: r.Stream}, s.Index); err != nil {
		return advise(err, w.queue)
	}
	if execution == executionRunning {
		fmt.Fprintf(out, "%s: runs already\n", w.id)
	} else {
		fmt.Fprintf(out, "%s: started\n", w.id)
	}
	return nil
}

type parkedPause struct {
	indexArgument
	pause
	wait
	format
}

// Run pauses the DrainIndex of an index.
func (p parkedPause) Run(ctx context.Context, c client.Client, out output) error {
	return p.obey(ctx, c, out, p.command(), p.wait, p.format)
}

type parkedResume struct {
	indexArgument
	signed
	wait
	format
}

// Run resumes the DrainIndex of an index.
func (p parkedResume) Run(ctx context.Context, c client.Client, out output) error {
	return p.obey(ctx, c, out, p.resume(), p.wait, p.format)
}

func (a indexArgument) obey(ctx context.Context, c client.Client, out output, command control.Command, w wait, f format) error {
	drain := a.drain(c)
	status := parkedStatus{Workflow: drain.id, Execution: executionRunning}
	if done, err := drain.obey(ctx, out, command, w, &status.DrainStatus); err != nil || !done {
		return err
	}
	return f.print(out, status, func() { fmt.Fprintln(out, obeyed(drain.id, status.State, status.Holds)) })
}

type parkedCancel struct {
	indexArgument
	wait
}

// Run ends the DrainIndex of an index.
func (p parkedCancel) Run(ctx context.Context, c client.Client, out output) error {
	return p.drain(c).stopAndSay(ctx, out, p.Wait)
}
