package main

import (
	"context"
	"fmt"

	"go.temporal.io/sdk/client"

	"millrace/internal/config"
	"millrace/internal/control"
)

type streamCommands struct {
	Pause  streamPause  `cmd:"" help:"Pause all shards, including those that resharding creates."`
	Resume streamResume `cmd:"" help:"Resume all shards. Pauses of other owners stay."`
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
	signed
	wait
	format
}

// Run resumes all shards.
func (s streamResume) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandStream(ctx, c, r, out, s.resume(), s.wait, s.format)
}

// commandStream has ProcessStream, and with it all shards, obey.
func commandStream(ctx context.Context, c client.Client, r *config.Resources, out output, command control.Command, w wait, f format) error {
	p := processing(c, r)
	status := streamStatus{Workflow: p.id, Execution: executionRunning}
	if done, err := p.obey(ctx, out, command, w, &status.StreamStatus); err != nil || !done {
		return err
	}
	if err := status.look(ctx, c); err != nil {
		return err
	}
	return f.print(out, status, func() {
		fmt.Fprintln(out, obeyed(fmt.Sprintf("%s, %d shards", p.id, len(status.Shards)), status.State, status.Holds))
	})
}
