package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/snapshot"
	"millrace/workflows"
)

type snapshotCommands struct {
	Schedule snapshotSchedule `cmd:"" help:"Take a snapshot every hour, or at another interval."`
	Take     snapshotTake     `cmd:"" help:"Take a snapshot now."`
	List     snapshotList     `cmd:"" help:"List snapshots, and the one that a recovery would choose."`
	Accept   snapshotAccept   `cmd:"" help:"Accept a suspect snapshot: nothing is missing that should be there."`
}

// snapshotSettings are what each snapshot is taken with.
type snapshotSettings struct {
	config.Repository `group:"elasticsearch"`

	Every     model.Duration `help:"Interval of the schedule." default:"1h"`
	KeepAll   model.Duration `help:"How long to keep every snapshot." default:"2d"`
	KeepDaily model.Duration `help:"How long to keep the last good snapshot of each day." default:"14d"`
	Indices   []string       `help:"Patterns of the indices in the snapshot, the same each time; default: all telemetry." placeholder:"telemetry-*"`
}

// Validate reports what the workflow would refuse.
func (s snapshotSettings) Validate() error {
	if err := s.Repository.Validate(); err != nil {
		return err
	}
	return s.input("any").Validate()
}

func (s snapshotSettings) input(bucket string) workflows.SnapshotInput {
	return workflows.SnapshotInput{
		Repository: s.Repository.For(bucket), Indices: s.Indices, Every: s.Every,
		Retention: snapshot.Retention{KeepAll: s.KeepAll, KeepDaily: s.KeepDaily},
	}.WithDefaults()
}

func snapshotsOf(c client.Client, repository string) recurring {
	return recurring{
		client: c, id: workflows.SnapshotID(repository), queue: workflows.SnapshotQueue, stage: "snapshot",
		summary: "snapshot into repository " + repository,
	}
}

type snapshotSchedule struct {
	snapshotSettings
	Remove bool `help:"Remove the schedule. Snapshots stay."`
}

// Run makes, changes or removes the schedule.
func (s snapshotSchedule) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	schedule := snapshotsOf(c, s.Name)
	if s.Remove {
		return schedule.remove(ctx, out)
	}
	return schedule.setAndSay(ctx, out, time.Duration(s.Every), workflows.SnapshotIndex, s.input(r.Bucket))
}

type snapshotTake struct {
	snapshotSettings
	wait
	format
}

// Run takes a snapshot and waits for it.
func (s snapshotTake) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	w := endless{c, workflows.SnapshotID(s.Name), workflows.SnapshotQueue}
	if started, err := w.start(ctx, "snapshot", "snapshot into repository "+s.Name, workflows.SnapshotIndex, s.input(r.Bucket)); err != nil {
		return err
	} else if !started && !s.JSON {
		fmt.Fprintf(out, "%s: goes on already\n", w.id)
	}
	if s.Wait <= 0 {
		fmt.Fprintf(out, "%s: started\n", w.id)
		return nil
	}
	waiting, cancel := context.WithTimeout(ctx, s.Wait)
	defer cancel()
	var status workflows.SnapshotStatus
	err := c.GetWorkflow(waiting, w.id, "").Get(waiting, &status)
	var failed *temporal.ApplicationError
	switch {
	case errors.As(err, &failed):
		return fmt.Errorf("%s: %s", failed.Type(), failed.Message())
	case err != nil:
		if why := w.failing(ctx); why != "" {
			return fmt.Errorf("wait for the snapshot: not done within %v (see --wait); it is tried again and again, since it fails: %s", s.Wait, why)
		}
		return fmt.Errorf("wait for the snapshot, which goes on: %w", s.explain(waiting, err, w.queue))
	}
	return s.print(out, status, func() {
		fmt.Fprintf(out, "snapshot %s: %s, %d documents in %d indices at the least; %d old ones deleted\n",
			status.Name, status.Snapshot.State, status.Begun.Documents, status.Begun.Indices, status.Expired.Deleted)
	})
}

// catalog finds the records of a repository's snapshots.
func catalog(ctx context.Context, r *config.Resources, repository config.RepositoryName) (*snapshot.Catalog, error) {
	cfg, err := config.AWS(ctx)
	if err != nil {
		return nil, err
	}
	return snapshot.Open(archive.Open(config.S3(cfg), r.Bucket), repository.Name), nil
}

type snapshotList struct {
	config.RepositoryName `group:"elasticsearch"`
	format
}

// Run lists the records of all snapshots. It needs neither Temporal nor
// Elasticsearch.
func (l snapshotList) Run(ctx context.Context, r *config.Resources, out output) error {
	catalog, err := catalog(ctx, r, l.RepositoryName)
	if err != nil {
		return err
	}
	all, err := catalog.List(ctx)
	if err != nil {
		return err
	}
	return l.print(out, all, func() { writeSnapshots(out, all) })
}

func writeSnapshots(out output, all []snapshot.Record) {
	if len(all) == 0 {
		fmt.Fprintln(out, "none: see `starter snapshot schedule`")
		return
	}
	good, _ := snapshot.LastGood(all, time.Time{})
	rows := [][]string{{"NAME", "BEGUN", "TOOK", "STATE", "INDICES", "DOCUMENTS", "OPEN", "REMARK"}}
	for _, s := range all {
		state, remark, took := s.State, s.Reason, "-"
		if s.Suspect != "" {
			state, remark = state+", suspect", s.Suspect
		}
		if s.Accepted != nil {
			remark = "accepted by " + s.Accepted.By + ": " + s.Accepted.Reason
		}
		if s.Name == good.Name {
			remark = "a recovery would choose this one. " + remark
		}
		if !s.Ended.IsZero() {
			took = s.Ended.Sub(s.Started).Round(time.Second).String()
		}
		rows = append(rows, []string{
			s.Name, clock(s.Started), took, state, fmt.Sprint(len(s.Indices)), fmt.Sprint(s.Documents()), fmt.Sprint(len(s.Open)), orDash(remark),
		})
	}
	table(out, rows...)
}

type snapshotAccept struct {
	Repository config.RepositoryName `embed:"" group:"elasticsearch"`

	Name   string `arg:"" help:"Name of the snapshot, as listed."`
	Reason string `help:"Why nothing is missing." required:""`
	signed
	confirmation
}

// Run makes a suspect snapshot one that a recovery may choose.
func (a snapshotAccept) Run(ctx context.Context, r *config.Resources, out output) error {
	catalog, err := catalog(ctx, r, a.Repository)
	if err != nil {
		return err
	}
	record, err := catalog.Get(ctx, a.Name)
	if err != nil {
		return err
	}
	if record.Suspect == "" {
		fmt.Fprintf(out, "snapshot %s: it is not suspect\n", a.Name)
		return nil
	}
	if err := a.ask(out, "accept snapshot "+a.Name+", in which documents are missing ("+record.Suspect+")"); err != nil {
		return err
	}
	record.Accept(snapshot.Acceptance{By: a.By, Reason: a.Reason, At: time.Now().UTC()})
	if err := catalog.Put(ctx, record); err != nil {
		return err
	}
	fmt.Fprintf(out, "snapshot %s: accepted; snapshots are compared with it from now on\n", a.Name)
	return nil
}
