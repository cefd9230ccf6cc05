package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.temporal.io/sdk/client"

	"millrace/workflows"
)

type batchCommands struct {
	List   batchList   `cmd:"" help:"List the running batches."`
	Show   batchShow   `cmd:"" help:"Show what is left of a batch, as a tree."`
	Retry  batchRetry  `cmd:"" help:"Try a batch, or a branch of it, now."`
	Skip   batchSkip   `cmd:"" help:"Give up a batch, or a branch of it. Its records go to the ledger and the dead-letter queue."`
	Cancel batchCancel `cmd:"" help:"Give up a batch, and end its workflow."`
}

type batchList struct{ format }

// batchLine is one of the list.
type batchLine struct {
	Workflow string `json:"workflow"`
	Shard    string `json:"shard"`
	State    string `json:"state"`
	Started  string `json:"started"`
}

// Run lists the ProcessBatch workflows that run.
func (l batchList) Run(ctx context.Context, c client.Client, out output) error {
	running, err := listRunning(ctx, c, "ProcessBatch")
	if err != nil {
		return err
	}
	lines := []batchLine{}
	for _, info := range running {
		lines = append(lines, batchLine{
			Workflow: info.GetExecution().GetWorkflowId(), Shard: attribute(info, workflows.Shard.GetName()),
			State: stateOf(info), Started: clock(info.GetStartTime().AsTime()),
		})
	}
	return l.print(out, lines, func() {
		if len(lines) == 0 {
			fmt.Fprintln(out, "none: every range was indexed with its shard")
			return
		}
		rows := [][]string{{"BATCH", "SHARD", "STATE", "STARTED"}}
		for _, line := range lines {
			rows = append(rows, []string{line.Workflow, line.Shard, line.State, line.Started})
		}
		table(out, rows...)
	})
}

// batchArgument says which batch is meant.
type batchArgument struct {
	Batch string `arg:"" help:"Id of the workflow, as listed: batch/…"`
}

type batchShow struct {
	batchArgument
	format
}

// Run prints the tree of a batch.
func (s batchShow) Run(ctx context.Context, c client.Client, out output) error {
	answer, err := c.QueryWorkflow(ctx, s.Batch, "", workflows.StatusQuery)
	if err != nil {
		return fmt.Errorf("ask %s for its status: %w", s.Batch, advise(err, workflows.ProcessQueue))
	}
	var status workflows.BatchStatus
	if err := answer.Get(&status); err != nil {
		return fmt.Errorf("read the status of %s: %w", s.Batch, err)
	}
	return s.print(out, status, func() { writeBatch(out, status) })
}

func writeBatch(out output, s workflows.BatchStatus) {
	fmt.Fprintf(out, "range     %s\nstate     %s\ncause     %s: %s\nrecords   %d indexed, %d indexed before, %d dead letters\n",
		s.Range, s.State, s.Cause.Type, s.Cause.Reason, s.Counts.Indexed, s.Counts.Earlier(), s.Counts.DeadLetters)
	if text := s.Copy(); text != "" {
		fmt.Fprintf(out, "ledger    %s\n", text)
	}
	if lines := s.Lines(); len(lines) > 0 {
		fmt.Fprintf(out, "\n%s\n", strings.Join(lines, "\n"))
	}
}

// branchArgument says which part of a batch is meant.
type branchArgument struct {
	batchArgument
	First string `help:"First sequence number of the branch, or its last digits, as shown; without it, everything that is left."`
	Last  string `help:"Last sequence number of the branch, or its last digits."`
	wait
	format
}

// Validate keeps half a name from meaning everything.
func (b branchArgument) Validate() error {
	if (b.First == "") != (b.Last == "") {
		return errors.New("--first, --last: give both, or none")
	}
	return nil
}

func (b branchArgument) obey(ctx context.Context, c client.Client, out output, command string) error {
	branch := workflows.Branch{First: b.First, Last: b.Last}
	if b.Wait <= 0 {
		if err := c.SignalWorkflow(ctx, b.Batch, "", command, branch); err != nil {
			return fmt.Errorf("signal %s to %s: %w", command, b.Batch, err)
		}
		fmt.Fprintf(out, "%s: will %s\n", b.Batch, command)
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, b.Wait)
	defer cancel()
	update, err := c.UpdateWorkflow(waiting, client.UpdateWorkflowOptions{
		WorkflowID: b.Batch, UpdateName: command, Args: []any{branch}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	var status workflows.BatchStatus
	if err == nil {
		err = update.Get(waiting, &status)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", command, b.Batch, b.explain(waiting, err, workflows.ProcessQueue))
	}
	return b.print(out, status, func() { writeBatch(out, status) })
}

type batchRetry struct{ branchArgument }

// Run has a branch tried now.
func (r batchRetry) Run(ctx context.Context, c client.Client, out output) error {
	return r.obey(ctx, c, out, workflows.Retry)
}

type batchSkip struct {
	branchArgument
	confirmation
}

// Run gives a branch up.
func (s batchSkip) Run(ctx context.Context, c client.Client, out output) error {
	if s.First == "" {
		if err := s.ask(out, "give up all records of "+s.Batch+" that are not indexed"); err != nil {
			return err
		}
	}
	return s.obey(ctx, c, out, workflows.Skip)
}

type batchCancel struct {
	batchArgument
	wait
}

// Run ends a batch: what is left goes to the ledger first.
func (b batchCancel) Run(ctx context.Context, c client.Client, out output) error {
	return endless{client: c, id: b.Batch, queue: workflows.ProcessQueue}.stopAndSay(ctx, out, b.Wait)
}
