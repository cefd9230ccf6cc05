package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/deadletters"
	"millrace/internal/config"
	"millrace/internal/control"
	"millrace/workflows"
)

func reprocessing(c client.Client, r *config.Resources) endless {
	return endless{c, workflows.ReprocessID(r.Stream), workflows.DeadQueue}
}

type reprocessStart struct {
	Keys []string `arg:"" optional:"" help:"Keys of entries, as listed: ledger/open/…; without any, all that match."`
	selection
	DryRun    bool          `help:"Print what would be done, and do nothing."`
	Direct    bool          `help:"Index records at once, instead of putting them into the stream. Shards and their circuits are not affected."`
	SettleFor time.Duration `help:"How long to wait for the outcome of records in the stream before their entries stay open." default:"${settle_for}"`
	Wait      bool          `help:"Wait until it ends, and show its progress. A dry run always waits."`
	signed
	format
}

// Validate reports what cannot be meant.
func (s reprocessStart) Validate() error {
	if s.SettleFor < time.Second {
		return fmt.Errorf("--settle-for: %v is less than a second", s.SettleFor)
	}
	if err := s.input("any", "").Validate(); err != nil {
		return fmt.Errorf("reprocess: %w", err)
	}
	return nil
}

func (s reprocessStart) input(stream, queue string) workflows.ReprocessInput {
	in := workflows.ReprocessInput{
		Stream: stream, Queue: queue, Select: s.of(stream), Mode: deadletters.ModeIngest, DryRun: s.DryRun, By: s.By, SettleFor: s.SettleFor,
	}
	in.Select.Keys = s.Keys
	if s.Direct {
		in.Mode = deadletters.ModeDirect
	}
	return in
}

// Run starts ReprocessDeadLetters.
func (s reprocessStart) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	w, summary := reprocessing(c, r), "dead letters of "+r.Stream
	if s.DryRun {
		w.id, summary = workflows.ReprocessDryRunID(r.Stream), summary+": a dry run"
	}
	started, err := w.start(ctx, "dead", summary, workflows.ReprocessDeadLetters, s.input(r.Stream, r.DeadLetters))
	if err != nil {
		return err
	}
	if !started {
		return w.runsAlready(ctx)
	}
	wait := s.Wait || s.DryRun
	if !s.JSON {
		fmt.Fprintf(out, "%s: started\n", w.id)
		if !w.polled(ctx) {
			fmt.Fprintf(out, "No worker polls %s yet: it goes on once one is started.\n", w.queue)
		} else if !wait {
			fmt.Fprintln(out, "See how far it is: starter dlq status")
		}
	}
	if !wait {
		return nil
	}
	return s.follow(ctx, w, out)
}

// runsAlready says which one runs, for who wanted to start another.
func (w endless) runsAlready(ctx context.Context) error {
	described, err := w.client.DescribeWorkflowExecution(ctx, w.id, "")
	if err != nil {
		return fmt.Errorf("describe %s, which runs already: %w", w.id, advise(err, w.queue))
	}
	info := described.GetWorkflowExecutionInfo()
	text := fmt.Sprintf("%s runs already, since %s, as run %s", w.id, clock(info.GetStartTime().AsTime()), info.GetExecution().GetRunId())
	var status workflows.ReprocessStatus
	if w.query(ctx, &status) == nil {
		text += ", started by " + status.By
	}
	return errors.New(text + ": one at a time; see starter dlq status")
}

// followEvery is how often it is said how far something is.
const followEvery = time.Second

// follow says how far it is until it has ended, and then what became of it.
func (s reprocessStart) follow(ctx context.Context, w endless, out output) error {
	type ending struct {
		status workflows.ReprocessStatus
		err    error
	}
	ended := make(chan ending, 1)
	go func() {
		var e ending
		e.err = w.client.GetWorkflow(ctx, w.id, "").Get(ctx, &e.status)
		ended <- e
	}()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	said := ""
	for {
		select {
		case e := <-ended:
			var canceled *temporal.CanceledError
			if e.err != nil && !errors.As(e.err, &canceled) {
				return fmt.Errorf("wait for the end of %s: %w", w.id, advise(e.err, w.queue))
			}
			if canceled != nil {
				if err := w.query(ctx, &e.status); err != nil {
					return err
				}
			}
			if err := s.print(out, e.status, func() { writeReprocessing(out, w.id, "", e.status) }); err != nil {
				return err
			}
			if canceled != nil {
				return fmt.Errorf("%s was canceled", w.id)
			}
			if e.status.State == workflows.StateStopped {
				return fmt.Errorf("%s stopped: %s", w.id, e.status.Done.Stopped)
			}
			return nil
		case <-tick.C:
			status, err := liveReprocessing(ctx, w)
			if err != nil || s.JSON { // the end is what counts
				continue
			}
			if line := progressLine(status); line != said {
				said = line
				fmt.Fprintln(out, line)
			}
		}
	}
}

// progressLine says in a line how far it is.
func progressLine(s workflows.ReprocessStatus) string {
	c := s.Done.Counts
	parts := []string{fmt.Sprintf("%s: %d records", s.State, c.Records)}
	for _, part := range []struct {
		n    int64
		what string
	}{
		{c.Indexed, "indexed"}, {c.Already, "indexed already"}, {c.Refused, "refused again"}, {c.Unsettled, "unsettled"},
		{c.Unrecoverable, "unrecoverable"}, {int64(s.Done.Waiting), "waiting"},
	} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.what))
		}
	}
	if s.Done.LastError != "" {
		parts = append(parts, "waits: "+strings.ReplaceAll(s.Done.LastError, "\n", " "))
	}
	return strings.Join(parts, ", ")
}

// liveReprocessing is the status, brought up to date with the last heartbeat.
func liveReprocessing(ctx context.Context, w endless) (status workflows.ReprocessStatus, err error) {
	if err := w.query(ctx, &status); err != nil {
		return status, err
	}
	described, err := w.client.DescribeWorkflowExecution(ctx, w.id, "")
	if err != nil {
		return status, fmt.Errorf("describe %s: %w", w.id, err)
	}
	for _, pending := range described.GetPendingActivities() {
		var now deadletters.ReprocessProgress
		if pending.GetActivityType().GetName() != "ReprocessEntries" || pending.GetHeartbeatDetails() == nil ||
			converter.GetDefaultDataConverter().FromPayloads(pending.GetHeartbeatDetails(), &now) != nil {
			continue
		}
		status.Done = now
	}
	return status, nil
}

type reprocessStatus struct{ format }

// Run prints how far reprocessing is.
func (s reprocessStatus) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	w := reprocessing(c, r)
	execution, err := w.execution(ctx)
	if err != nil {
		return err
	}
	full := struct {
		Workflow  string `json:"workflow"`
		Execution string `json:"execution"` // Temporal's word for it, or absent
		workflows.ReprocessStatus
	}{Workflow: w.id, Execution: execution}
	if execution != executionAbsent {
		if full.ReprocessStatus, err = liveReprocessing(ctx, w); err != nil {
			return unasked(execution, err)
		}
	}
	return s.print(out, full, func() { writeReprocessing(out, w.id, execution, full.ReprocessStatus) })
}

func writeReprocessing(out output, id, execution string, s workflows.ReprocessStatus) {
	if execution == executionAbsent {
		fmt.Fprintf(out, "%s: never started, see `starter dlq reprocess`\n", id)
		return
	}
	state := s.State
	if execution != "" && execution != executionRunning && execution != "Completed" {
		state = strings.ToLower(execution)
	}
	rows := [][]string{{"workflow", id}, {"state", state}}
	if s.Done.Stopped != "" {
		rows = append(rows, []string{"why", s.Done.Stopped})
	}
	if len(s.Holds) > 0 {
		rows = append(rows, []string{"paused by", holds(s.Holds)})
	}
	rows = append(rows, []string{"started", clock(s.Started) + " by " + s.By}, []string{"way", s.Way()})
	for _, line := range s.Figures() {
		rows = append(rows, []string{strings.ToLower(line[0]), line[1]})
	}
	rows = append(rows, []string{"worker", orDash(s.Done.Worker)}, []string{"last error", orDash(s.Done.LastError)})
	table(out, rows...)
	if len(s.Done.Errors) > 0 {
		fmt.Fprintln(out)
		rows = [][]string{{"RECORDS", "ERROR", "FROM", "TO", "SUCH AS"}}
		for _, g := range s.Done.Errors {
			rows = append(rows, []string{fmt.Sprint(g.Records), g.Error + ": " + g.Reason, clock(g.First), clock(g.Last), g.Example})
		}
		table(out, rows...)
	}
	if len(s.Done.Unrecoverable) > 0 {
		fmt.Fprintf(out, "\nunrecoverable:\n  %s\n", strings.Join(s.Done.Unrecoverable, "\n  "))
	}
}

type reprocessPause struct {
	pause
	wait
	format
}

// Run pauses reprocessing.
func (s reprocessPause) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandReprocess(ctx, c, r, out, s.command(), s.wait, s.format)
}

type reprocessResume struct {
	signed
	wait
	format
}

// Run resumes reprocessing.
func (s reprocessResume) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandReprocess(ctx, c, r, out, s.resume(), s.wait, s.format)
}

func commandReprocess(ctx context.Context, c client.Client, r *config.Resources, out output, command control.Command, w wait, f format) error {
	running := reprocessing(c, r)
	var status workflows.ReprocessStatus
	if done, err := running.obey(ctx, out, command, w, &status); err != nil || !done {
		return err
	}
	return f.print(out, status, func() { fmt.Fprintln(out, obeyed(running.id, status.State, status.Holds)) })
}

type reprocessCancel struct{ wait }

// Run cancels reprocessing.
func (s reprocessCancel) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return reprocessing(c, r).stopAndSay(ctx, out, s.Wait)
}
