package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/common/model"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/snapshots"
	"millrace/internal/config"
	"millrace/workflows"
)

type retentionCommands struct {
	Schedule retentionSchedule `cmd:"" help:"Delete old indices and documents every day, or at another interval."`
	Run      retentionRun      `cmd:"" help:"Delete them now, or print which would be deleted."`
}

// retentionSettings say what is kept.
type retentionSettings struct {
	// Repository has the snapshots that count.
	Repository config.RepositoryName `embed:"" group:"elasticsearch"`

	Days    map[string]int `help:"Days to keep a daily index after its date, or after the day on which it last received a document, by type of record: span=30,metric=90,default=14. A type without a number is kept for ever. In yearly and undated indices, documents are kept that long after their receipt." placeholder:"TYPE=DAYS,…" mapsep:","`
	Indices []string       `help:"Patterns of the indices; default: all telemetry." placeholder:"telemetry-*"`
}

func (s retentionSettings) input() workflows.RetentionInput {
	return workflows.RetentionInput{Days: s.Days, Repository: s.Repository.Name, Indices: s.Indices}.WithDefaults()
}

type retentionSchedule struct {
	retentionSettings
	Every  model.Duration `help:"Interval of the schedule." default:"1d"`
	Remove bool           `help:"Remove the schedule."`
}

// Run makes, changes or removes the schedule.
func (s retentionSchedule) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	schedule := recurring{
		client: c, id: workflows.RetentionID(r.Stream), queue: workflows.SnapshotQueue, stage: "retention",
		summary: "retention of the indices of stream " + r.Stream,
	}
	if s.Remove {
		return schedule.remove(ctx, out)
	}
	if err := s.input().Validate(); err != nil {
		return fmt.Errorf("--%w", err)
	}
	return schedule.setAndSay(ctx, out, time.Duration(s.Every), workflows.EnforceRetention, s.input())
}

type retentionRun struct {
	retentionSettings
	DryRun bool `help:"Print which would be deleted, and delete nothing."`
	wait
	confirmation
	format
}

// Run deletes old indices.
func (s retentionRun) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	in := s.input()
	in.DryRun = s.DryRun
	if err := in.Validate(); err != nil {
		return fmt.Errorf("--%w", err)
	}
	if !s.DryRun {
		if err := s.ask(out, "delete what is past its retention; --dry-run lists it"); err != nil {
			return err
		}
	}
	w := endless{c, workflows.RetentionID(r.Stream), workflows.SnapshotQueue}
	if _, err := w.start(ctx, "retention", "retention of the indices of stream "+r.Stream, workflows.EnforceRetention, in); err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, s.Wait)
	defer cancel()
	var result snapshots.Retirement
	err := c.GetWorkflow(waiting, w.id, "").Get(waiting, &result)
	var failed *temporal.ApplicationError
	switch {
	case errors.As(err, &failed):
		return fmt.Errorf("%s: %s", failed.Type(), failed.Message())
	case err != nil:
		return fmt.Errorf("wait for the end: %w", s.explain(waiting, err, w.queue))
	}
	return s.print(out, result, func() {
		done := "deleted"
		if s.DryRun {
			done = "would delete"
		}
		fmt.Fprintf(out, "%s %d indices with %d documents\n", done, len(result.Deleted), result.Documents)
		for _, name := range result.Deleted {
			fmt.Fprintln(out, "  "+name)
		}
		fmt.Fprintf(out, "%s %d documents of %d indices that are not of one day\n", done, result.TrimmedDocuments(), len(result.Trimmed))
		for _, trim := range result.Trimmed {
			fmt.Fprintln(out, "  "+trim.String())
		}
	})
}
