package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"millrace/internal/config"
	"millrace/workflows"
	"millrace/workflows/launch"
)

type processCommands struct {
	Start  processStart  `cmd:"" help:"Start ProcessStream, which continues at the checkpoints, and KeepDeadLetters."`
	Stop   processStop   `cmd:"" help:"Stop processing. Every shard completes the records in flight and keeps its checkpoint."`
	Status processStatus `cmd:"" help:"Show whether processing runs, and the state of each shard."`
}

func processing(c client.Client, r *config.Resources) endless {
	return endless{c, workflows.ProcessStreamID(r.Stream), workflows.ProcessQueue}
}

type processStart struct {
	CallFor time.Duration `help:"How long a worker keeps a shard before another may take it." default:"${call_for}"`
}

// Validate reports what cannot work.
func (p processStart) Validate() error {
	if p.CallFor < time.Second {
		return fmt.Errorf("--call-for: %v is less than a second", p.CallFor)
	}
	return nil
}

// Run starts ProcessStream, and what keeps the dead letters that come of it.
func (p processStart) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	err := processing(c, r).startAndSay(ctx, out, "process", "stream "+r.Stream, workflows.ProcessStream,
		workflows.StreamInput{Stream: r.Stream, CallFor: p.CallFor})
	if err != nil {
		return err
	}
	return lettersStart{}.Run(ctx, c, r, out)
}

type processStop struct {
	wait
	confirmation
}

// Run cancels ProcessStream, which cancels all ProcessShard, and then what
// keeps dead letters.
func (p processStop) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	if err := p.ask(out, "stop processing: no record of "+r.Stream+" is indexed until it is started again"); err != nil {
		return err
	}
	if err := processing(c, r).stopAndSay(ctx, out, p.Wait); err != nil {
		return err
	}
	return keeping(c, r).stopAndSay(ctx, out, p.Wait)
}

type processStatus struct{ format }

// streamStatus is what ProcessStream says, and whether it runs.
type streamStatus struct {
	Workflow  string `json:"workflow"`
	Execution string `json:"execution"` // Temporal's word for it, or absent
	workflows.StreamStatus
}

func statusOfStream(ctx context.Context, c client.Client, r *config.Resources) (streamStatus, error) {
	return statusOfConsumer(ctx, processing(c, r), r)
}

// statusOfConsumer is statusOfStream for another workflow that looks after the
// stream's shards.
func statusOfConsumer(ctx context.Context, w endless, r *config.Resources) (streamStatus, error) {
	status := streamStatus{Workflow: w.id}
	var err error
	if status.Execution, err = w.execution(ctx); err != nil || status.Execution == executionAbsent {
		status.Stream.Name = r.Stream
		return status, err
	}
	if err := w.query(ctx, &status.StreamStatus); err != nil {
		return status, unasked(status.Execution, err)
	}
	return status, nil
}

// look brings the states of the shards up to date: ProcessStream looks at them
// every few seconds only, and no more when it is stopped.
func (s *streamStatus) look(ctx context.Context, c client.Client) error {
	launcher := launch.Launcher{Client: c}
	group, looking := errgroup.WithContext(ctx)
	group.SetLimit(looksAtOnce)
	for i := range s.Shards {
		group.Go(func() error {
			state, err := launcher.Look(looking, s.Stream, s.Shards[i].ID)
			if err == nil && state != "" {
				s.Shards[i].State = state
			}
			return err
		})
	}
	return group.Wait()
}

// Run prints the status of ProcessStream.
func (p processStatus) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	status, err := statusOfStream(ctx, c, r)
	if err != nil {
		return err
	}
	if err := status.look(ctx, c); err != nil {
		return err
	}
	return p.print(out, status, func() { status.write(out) })
}

func (s streamStatus) write(out output) {
	switch s.Execution {
	case executionAbsent:
		fmt.Fprintf(out, "%s: never started, see `starter process start`\n", s.Workflow)
		return
	case executionRunning:
		fmt.Fprintf(out, "%s: %s\n", s.Workflow, s.State)
	default:
		fmt.Fprintf(out, "%s: stopped (%s)\n", s.Workflow, strings.ToLower(s.Execution))
	}
	if len(s.Holds) > 0 {
		fmt.Fprintf(out, "paused by %s\n", holds(s.Holds))
	}
	rows := [][]string{{"SHARD", "STATE", "STARTED", "PARENTS"}}
	for _, shard := range s.Shards {
		rows = append(rows, []string{shard.ID, shard.State, clock(shard.Started), orDash(strings.Join(shard.Parents, ", "))})
	}
	table(out, rows...)
}
