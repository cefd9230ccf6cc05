package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"millrace/internal/config"
	"millrace/internal/container"
	"millrace/internal/control"
	"millrace/internal/stream"
	"millrace/workflows"
	"millrace/workflows/launch"
)

type formCommand struct {
	Form string `arg:"" optional:"" help:"single: each document alone, as every reader knows them. pack: many in a zstd frame; the fewest shards. kpl: many in an aggregated record of Amazon's KPL, which Firehose and the KCL take apart. Without it, the form is shown." placeholder:"FORM"`
	format
}

// Validate reports a form that there is not.
func (f formCommand) Validate() error {
	if f.Form == "" {
		return nil
	}
	_, err := container.ParseForm(f.Form)
	return err //nolint:wrapcheck // it names the form, and those that there are
}

// formReport is what the command found.
type formReport struct {
	Form  string    `json:"form"`
	Since time.Time `json:"since,omitzero"`
	// Ahead says, of singles, where containers of before may still be ahead of readers: workers of a version that knows
	// none must not be started before there are none.
	Ahead []string `json:"ahead"`
}

// Run shows the form, or sets it.
func (f formCommand) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	cfg, err := config.AWS(ctx)
	if err != nil {
		return err
	}
	opened, err := stream.Open(ctx, kinesis.NewFromConfig(cfg), r.Stream, stream.Settings{})
	if err != nil {
		return err
	}
	now, err := opened.Form(ctx)
	if err != nil {
		return err
	}
	if f.Form != "" && f.Form != now.String() {
		if now, err = setForm(ctx, c, opened, f.Form); err != nil {
			return err
		}
	}
	report := formReport{Form: now.String(), Since: now.Since, Ahead: []string{}}
	if now.Form == container.Single && !now.Since.IsZero() {
		known := now.Since.Add(stream.FormAge) // by all writers
		if report.Ahead, err = containersAhead(ctx, c, r, known); err != nil {
			return err
		}
		late, err := containersArriving(ctx, opened, known)
		if err != nil {
			return err
		}
		report.Ahead = append(report.Ahead, late...)
	}
	return f.print(out, report, func() { report.say(out, r.Stream) })
}

// setForm sets the form of a name, if all workers can read it.
func setForm(ctx context.Context, c client.Client, s *stream.Stream, name string) (stream.Form, error) {
	form, err := container.ParseForm(name)
	if err == nil && form != container.Single {
		err = allReadContainers(ctx, c)
	}
	if err != nil {
		return stream.Form{}, err
	}
	return s.SetForm(ctx, form)
}

func (f formReport) say(out output, name string) {
	if f.Since.IsZero() {
		fmt.Fprintf(out, "stream %s: %s; it was never set\n", name, f.Form)
		return
	}
	fmt.Fprintf(out, "stream %s: %s since %s; writers learn of it within %s\n", name, f.Form, clock(f.Since), stream.FormAge)
	if f.Form != container.Single.String() {
		return
	}
	if len(f.Ahead) == 0 {
		fmt.Fprintln(out, "no reader has a container ahead of it: workers of earlier versions may be started")
		return
	}
	fmt.Fprintln(out, "containers may still be ahead of readers: do not start workers of a version that knows none")
	for _, where := range f.Ahead {
		fmt.Fprintln(out, "  "+where)
	}
}

// allReadContainers fails if a worker that polls any task queue does not read containers: it would write them to
// the ledger, as records that no collector wrote.
func allReadContainers(ctx context.Context, c client.Client) error {
	var old []string
	for _, queue := range workflows.TaskQueues {
		pollers, err := pollersOf(ctx, c, queue)
		if err != nil {
			return err
		}
		for _, p := range recentOf(pollers, time.Now()) {
			if !strings.HasSuffix(p.GetIdentity(), workflows.ReadsContainers) {
				old = append(old, p.GetIdentity()+" on "+queue)
			}
		}
	}
	if len(old) > 0 {
		return fmt.Errorf("workers of an earlier version do not read containers: upgrade them, and try again %s after the last has ended: %s",
			pollTime, strings.Join(old, ", "))
	}
	return nil
}

// containersArriving says into which shards a writer still puts containers, though all should know better since a time.
func containersArriving(ctx context.Context, s *stream.Stream, known time.Time) (where []string, err error) {
	since := time.Now().Add(-stream.FormAge)
	if since.Before(known) { // then no reader has come so far either
		return nil, nil
	}
	shards, err := s.Shards(ctx)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	group, looking := errgroup.WithContext(ctx)
	group.SetLimit(looksAtOnce)
	for _, shard := range shards {
		if shard.Last != "" { // it is closed
			continue
		}
		group.Go(func() error {
			came, err := s.ContainerSince(looking, shard.ID, since)
			if err == nil && !came.IsZero() {
				mu.Lock()
				defer mu.Unlock()
				where = append(where, fmt.Sprintf("a writer has put a container into shard %s at %s: it cannot read the stream's tags, see its log", shard.ID, clock(came)))
			}
			return err
		})
	}
	err = group.Wait()
	slices.Sort(where)
	return where, err
}

// containersAhead says where containers that were put before a time may still be ahead of a reader.
func containersAhead(ctx context.Context, c client.Client, r *config.Resources, before time.Time) (ahead []string, err error) {
	behind := func(what, state string, readUpTo time.Time, closed bool) {
		if !closed && state != control.StateDrained && readUpTo.Before(before) {
			ahead = append(ahead, fmt.Sprintf("%s is read up to %s, not to %s", what, orDash(clock(readUpTo)), clock(before)))
		}
	}
	processing, err := statusOfStream(ctx, c, r)
	if err != nil {
		return nil, err
	}
	if processing.Execution != executionAbsent {
		shards, err := findShards(ctx, c, r)
		if err != nil {
			return nil, err
		}
		statuses, err := shards.statuses(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range statuses {
			behind("shard "+s.Shard, s.State, s.Checkpoint.ReadUpTo, s.Checkpoint.Closed)
		}
	}
	backup := backupReport{}
	if backup.streamStatus, err = statusOfConsumer(ctx, backingUp(c, r), r); err != nil {
		return nil, err
	}
	if backup.Execution != executionAbsent {
		if err := backup.ask(ctx, c); err != nil {
			return nil, err
		}
		for _, s := range backup.Backups {
			behind("the backup of shard "+s.Shard, s.State, s.Checkpoint.ReadUpTo, s.Checkpoint.Closed)
		}
	}
	open, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: "WorkflowType='ProcessBatch' AND " + launch.Open})
	if err != nil {
		return nil, fmt.Errorf("count open batches: %w", err)
	}
	if n := open.GetCount(); n > 0 {
		ahead = append(ahead, fmt.Sprintf("%d batches are open, whose ranges may have containers: `starter batch list`", n))
	}
	return ahead, nil
}
