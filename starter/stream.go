package main

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/client"

	"millrace/activities"
	"millrace/internal/config"
)

type streamCommands struct {
	Pause  streamPause  `cmd:"" help:"Pause all shards, those too that come with resharding."`
	Resume streamResume `cmd:"" help:"Resume all shards. One that others keep paused waits for them."`
}

type streamPause struct {
	pause
	wait
	format
}

// Run pauses all shards.
func (s streamPause) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandStream(ctx, c, r, out, s.command(), s.wait, s.format)
}

type streamResume struct {
	holder
	wait
	format
}

// Run resumes all shards.
func (s streamResume) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandStream(ctx, c, r, out, s.resume(), s.wait, s.format)
}

// commandStream has ProcessStream, and with it all shards, obey.
func commandStream(ctx context.Context, c client.Client, r *config.Resources, out output, command activities.Command, w wait, f format) error {
	p := processing(c, r)
	execution, err := p.execution(ctx)
	if err != nil {
		return err
	}
	if execution != executionRunning {
		return fmt.Errorf("%s %s: it does not run (%s): `starter process start`", command.Name, p.id, execution)
	}
	if w.Wait <= 0 {
		return tell(ctx, c, out, p.id, command)
	}
	waiting, cancel := context.WithTimeout(ctx, w.Wait)
	defer cancel()
	status := streamStatus{Workflow: p.id, Execution: execution}
	update, err := c.UpdateWorkflow(waiting, client.UpdateWorkflowOptions{
		WorkflowID: p.id, UpdateName: command.Name, Args: []any{command.Hold},
		WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = update.Get(waiting, &status.StreamStatus)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", command.Name, p.id, w.explain(waiting, err))
	}
	return f.print(out, status, func() {
		fmt.Fprintln(out, obeyed(fmt.Sprintf("%s, %d shards", p.id, len(status.Shards)), status.State, status.Holds))
	})
}
