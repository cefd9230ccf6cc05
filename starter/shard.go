package main

import (
	"context"
	"errors"
	"fmt"

	"go.temporal.io/sdk/client"

	"millrace/internal/config"
	"millrace/internal/control"
	"millrace/workflows"
)

type shardCommands struct {
	Show   shardShow   `cmd:"" help:"Show position, state, counts and errors of a shard."`
	Pause  shardPause  `cmd:"" help:"Pause a shard. It completes the records in flight and keeps its checkpoint."`
	Resume shardResume `cmd:"" help:"Resume a shard. Pauses of other owners stay."`
	Lift   shardLift   `cmd:"" help:"Judge an offender, a tenant whose records are mostly rejected, anew."`
}

// shardArgument says which shard is meant.
type shardArgument struct {
	Shard string `arg:"" help:"Id of the shard, or its number: shardId-000000000003, 000000000003 or 3."`
}

type shardShow struct {
	shardArgument
	format
}

// Run prints the status of a shard.
func (s shardShow) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	all, err := findShards(ctx, c, r)
	if err != nil {
		return err
	}
	shard, err := all.find(s.Shard)
	if err != nil {
		return err
	}
	status, err := all.status(ctx, shard)
	if err != nil {
		return err
	}
	return s.print(out, status, func() { status.write(out) })
}

type shardPause struct {
	shardArgument
	pause
	wait
	format
}

// Help is the details of starter shard pause --help.
func (shardPause) Help() string {
	return "It is paused when the command returns. With --wait 0 the workflow gets a signal instead, which it obeys also when no worker runs at the moment."
}

// Run pauses a shard.
func (s shardPause) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandShard(ctx, c, r, out, s.Shard, s.command(), s.wait, s.format)
}

type shardResume struct {
	shardArgument
	signed
	wait
	format
}

// Run resumes a shard.
func (s shardResume) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return commandShard(ctx, c, r, out, s.Shard, s.resume(), s.wait, s.format)
}

type shardLift struct {
	shardArgument
	Tenant string `arg:"" help:"The tenant, as starter shards prints it."`
	wait
	format
}

// Help is the details of starter shard lift --help.
func (shardLift) Help() string {
	return "What is refused of an offender goes to the ledger in large entries. It ends when the tenant's share of refused records falls; lift it where you know that they are good now."
}

// Run lifts an offender.
func (s shardLift) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	command := control.Command{Name: control.CommandLift, Hold: control.Hold{Tenant: s.Tenant}}
	return commandShard(ctx, c, r, out, s.Shard, command, s.wait, s.format)
}

// commandShard sends a shard a command, and prints its status after that.
func commandShard(ctx context.Context, c client.Client, r *config.Resources, out output, name string, command control.Command, w wait, f format) error {
	all, err := findShards(ctx, c, r)
	if err != nil && w.Wait <= 0 {
		var problem error
		if all, problem = listShards(ctx, c, r); problem != nil {
			return errors.Join(err, problem)
		}
	} else if err != nil {
		return err
	}
	shard, err := all.find(name)
	if err != nil {
		return err
	}
	// That it does not run is success to a Launcher, and news to an operator.
	switch state, err := all.launcher.Look(ctx, all.stream, shard.ID); {
	case err != nil:
		return err
	case state == "" || state == control.StateClosed || state == control.StateDrained:
		return fmt.Errorf("%s %s: it has no workflow that runs, its state is %s", command.Name, shard.ID, orDash(firstOf(state, shard.State)))
	}
	id := workflows.ProcessShardID(all.stream.Name, all.stream.Created, shard.ID)
	if w.Wait <= 0 {
		return tell(ctx, c, out, id, command)
	}
	waiting, cancel := context.WithTimeout(ctx, w.Wait)
	defer cancel()
	if err := all.launcher.Command(waiting, all.stream, shard.ID, command); err != nil {
		return w.explain(waiting, err, workflows.ProcessQueue)
	}
	status, err := all.status(ctx, shard)
	if err != nil {
		return err
	}
	return f.print(out, status, func() { fmt.Fprintln(out, obeyed(status.Shard, status.State, status.Holds)) })
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
