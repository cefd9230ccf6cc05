package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"millrace/activities/supervise"
	"millrace/internal/config"
	"millrace/internal/control"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// looksAtOnce bounds the shards that are asked for their status at the same
// time.
const looksAtOnce = 8

type shardsCommand struct{ format }

// Run prints a line for each shard.
func (s shardsCommand) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	all, err := findShards(ctx, c, r)
	if err != nil {
		return err
	}
	statuses, err := all.statuses(ctx)
	if err != nil {
		return err
	}
	return s.print(out, statuses, func() {
		rows := [][]string{{"SHARD", "STATE", "CHECKPOINT", "READ UP TO", "LAG", "RECORDS", "WORKER", "LAST ERROR"}}
		for _, status := range statuses {
			rows = append(rows, []string{
				status.Shard, status.State, short(status.Checkpoint.Sequence), clock(status.Checkpoint.ReadUpTo), status.lag(),
				strconv.FormatInt(status.Counts.Records, 10), orDash(status.Worker), orDash(oneLine(status.LastError)),
			})
		}
		table(out, rows...)
		for _, status := range statuses {
			for _, tenant := range status.Offenders {
				fmt.Fprintf(out, "%s has an offender, %s\n", status.Shard, tenant)
			}
		}
	})
}

// shards are those of the stream that ProcessStream looks after.
type shards struct {
	launcher launch.Launcher
	stream   telemetry.StreamID
	states   []supervise.ShardState
}

// findShards asks ProcessStream for its shards. Before its first look at the
// stream it knows none, so that is asked then.
func findShards(ctx context.Context, c client.Client, r *config.Resources) (shards, error) {
	status, err := statusOfStream(ctx, c, r)
	if err != nil {
		return shards{}, err
	}
	if status.Execution == executionAbsent {
		return shards{}, fmt.Errorf("%s was never started: `starter process start`", status.Workflow)
	}
	if status.Stream.Created.IsZero() {
		return listShards(ctx, c, r)
	}
	return shards{launch.Launcher{Client: c}, status.Stream, status.Shards}, nil
}

// listShards asks the stream itself for its shards: that needs no worker.
func listShards(ctx context.Context, c client.Client, r *config.Resources) (shards, error) {
	cfg, err := config.AWS(ctx)
	if err != nil {
		return shards{}, err
	}
	opened, err := stream.Open(ctx, kinesis.NewFromConfig(cfg), r.Stream, stream.Settings{})
	if err != nil {
		return shards{}, err
	}
	listed, err := opened.Shards(ctx)
	if err != nil {
		return shards{}, err
	}
	found := shards{launcher: launch.Launcher{Client: c}}
	found.stream = telemetry.StreamID{Name: opened.Name(), ARN: opened.ARN(), Created: opened.Created()}
	for _, shard := range listed {
		found.states = append(found.states, supervise.ShardState{ID: shard.ID, Parents: shard.Parents})
	}
	return found, nil
}

// shardPrefix begins the id of every shard; twelve digits follow.
const shardPrefix = "shardId-"

// find returns a shard by its id, or by the number in it.
func (s shards) find(name string) (supervise.ShardState, error) {
	id := name
	if number, err := strconv.ParseUint(strings.TrimPrefix(name, shardPrefix), 10, 64); err == nil {
		id = fmt.Sprintf("%s%012d", shardPrefix, number)
	}
	ids := make([]string, len(s.states))
	for i, state := range s.states {
		if state.ID == id || state.ID == name {
			return state, nil
		}
		ids[i] = state.ID
	}
	return supervise.ShardState{}, fmt.Errorf("stream %s has no shard %s; it has %s", s.stream.Name, id, orDash(strings.Join(ids, ", ")))
}

// shardStatus is how far a shard is at this moment.
type shardStatus struct {
	workflows.ShardStatus
	Workflow string   `json:"workflow"`
	Parents  []string `json:"parents,omitempty"`
}

// statuses asks the workflows of all shards.
func (s shards) statuses(ctx context.Context) ([]shardStatus, error) {
	statuses := make([]shardStatus, len(s.states))
	group, looking := errgroup.WithContext(ctx)
	group.SetLimit(looksAtOnce)
	for i, state := range s.states {
		group.Go(func() (err error) {
			statuses[i], err = s.status(looking, state)
			return err
		})
	}
	return statuses, group.Wait()
}

// status asks the workflow of a shard, if it has one.
func (s shards) status(ctx context.Context, shard supervise.ShardState) (shardStatus, error) {
	id := workflows.ProcessShardID(s.stream.Name, s.stream.Created, shard.ID)
	status := shardStatus{Workflow: id, Parents: shard.Parents}
	status.Stream, status.Shard, status.State = s.stream.Name, shard.ID, orDash(shard.State)
	state, err := s.launcher.Look(ctx, s.stream, shard.ID)
	if err != nil || state == "" {
		return status, err
	}
	status.State = state
	known, err := s.launcher.ShardStatus(ctx, id)
	var paused *launch.PausedError
	if errors.As(err, &paused) { // it does not say how far it is
		status.PauseBy(paused.Pause)
		return status, nil
	}
	if err != nil {
		return status, advise(err, workflows.ProcessQueue)
	}
	status.ShardStatus = known
	if state == control.StateClosed { // it does not know itself
		status.State = state
	}
	if idle := status.State == control.StatePaused || status.State == control.StateClosed; idle && !status.Checkpoint.ReadUpTo.IsZero() {
		status.LagSeconds = time.Since(status.Checkpoint.ReadUpTo).Seconds() // it grows while no worker reads the shard
	}
	return status, nil
}

// sequenceTail is how many digits of a sequence number tell it from others of
// its shard, to a person.
const sequenceTail = 12

func short(sequence string) string {
	if len(sequence) <= sequenceTail {
		return orDash(sequence)
	}
	return "…" + sequence[len(sequence)-sequenceTail:]
}

func (s shardStatus) lag() string {
	if s.Checkpoint.ReadUpTo.IsZero() || s.Checkpoint.Closed {
		return "-"
	}
	lag := time.Duration(s.LagSeconds * float64(time.Second))
	if lag > time.Minute {
		return lag.Round(time.Second).String()
	}
	return lag.Round(time.Millisecond).String()
}

// oneLine makes of what a server says something that fits into a table.
func oneLine(text string) string { return inOneLine(text, 80) }

func inOneLine(text string, longest int) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}

func (s shardStatus) write(out output) {
	c := s.Counts
	rows := [][]string{
		{"shard", s.Shard}, {"stream", s.Stream}, {"workflow", s.Workflow}, {"state", s.State},
		{"paused by", orDash(holds(s.Holds))},
		{"checkpoint", orDash(s.Checkpoint.Sequence)}, {"read up to", clock(s.Checkpoint.ReadUpTo)}, {"lag", s.lag()},
		{"records", fmt.Sprint(c.Records)}, {"  indexed", fmt.Sprint(c.Indexed)}, {"  duplicates", fmt.Sprint(c.Duplicates)},
		{"  in conflict", fmt.Sprint(c.Conflicts)}, {"  unchecked", fmt.Sprint(c.Unchecked)},
		{"  dead letters", fmt.Sprint(c.DeadLetters)},
		{"  handed over", fmt.Sprintf("%d, to %d ProcessBatch", c.HandedOver, c.Batches)},
		{"possible losses", fmt.Sprint(c.Losses)},
		{"worker", orDash(s.Worker)}, {"last error", orDash(s.LastError)},
	}
	for _, tenant := range s.Offenders {
		rows = append(rows, []string{"offender", tenant.String()})
	}
	if len(s.Parents) > 0 {
		rows = append(rows, []string{"comes from", strings.Join(s.Parents, ", ")})
	}
	if len(s.Children) > 0 {
		rows = append(rows, []string{"goes on in", strings.Join(s.Children, ", ")})
	}
	table(out, rows...)
}
