package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/activities/canary"
	"millrace/internal/config"
	"millrace/workflows"
)

type canaryCommands struct {
	Schedule   canarySchedule   `cmd:"" help:"Post a record to each collector every 10 s, or at another interval."`
	Unschedule canaryUnschedule `cmd:"" help:"Remove the schedule. Its last indices stay: the next run deletes those older than a day."`
	Run        canaryRun        `cmd:"" help:"Post a record to each collector now, and wait until it can be searched."`
	Status     canaryStatus     `cmd:"" help:"Show the availability of the last hour and day, and what became of the last records."`
}

// canarySettings are what each run is done with.
type canarySettings struct {
	Within time.Duration `help:"How long a record may take from its post until it can be searched, before the run fails." default:"${canary_within}"`
}

func (s canarySettings) input() workflows.CanaryInput { return workflows.CanaryInput{Within: s.Within} }

// Validate reports what the workflow would refuse.
func (s canarySettings) Validate() error {
	if err := s.input().Validate(); err != nil {
		return fmt.Errorf("--%w", err)
	}
	return nil
}

const canarySummary = "a record is posted, and searched"

// canaries are the schedule of a stream's canary. Its runs overlap: if one that waits for
// a late record held up the next, an outage would count as few runs.
func canaries(c client.Client, stream string, in workflows.CanaryInput) recurring {
	return recurring{
		client: c, id: workflows.CanaryID(stream), queue: workflows.CanaryQueue, stage: "canary", summary: canarySummary,
		overlapping: true, timeout: in.Timeout(),
	}
}

type canarySchedule struct {
	canarySettings
	Every time.Duration `help:"Interval of the schedule." default:"10s"`
}

// leastCanaryEvery bounds how many runs go on at once while records are late.
const leastCanaryEvery = time.Second

// Validate reports what cannot be meant.
func (s canarySchedule) Validate() error {
	if s.Every < leastCanaryEvery || s.Every%time.Second != 0 {
		return fmt.Errorf("--every: %v is not one or more whole seconds", s.Every)
	}
	return s.canarySettings.Validate()
}

// Run makes or changes the schedule.
func (s canarySchedule) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return canaries(c, r.Stream, s.input()).setAndSay(ctx, out, s.Every, workflows.Canary, s.input())
}

type canaryUnschedule struct{}

// Run removes the schedule.
func (canaryUnschedule) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	return canaries(c, r.Stream, workflows.CanaryInput{}).remove(ctx, out)
}

type canaryRun struct {
	canarySettings
	wait
	format
}

// Run posts a record to each collector and waits.
func (s canaryRun) Run(ctx context.Context, c client.Client, r *config.Resources, out output) error {
	w := endless{c, workflows.CanaryID(r.Stream), workflows.CanaryQueue}
	started, err := w.start(ctx, "canary", canarySummary, workflows.Canary, s.input())
	if err != nil {
		return err
	}
	if !started && !s.JSON {
		fmt.Fprintf(out, "%s: goes on already\n", w.id)
	}
	waiting, cancel := context.WithTimeout(ctx, s.Wait)
	defer cancel()
	var report canary.Report
	err = c.GetWorkflow(waiting, w.id, "").Get(waiting, &report)
	var failed *temporal.ApplicationError
	switch {
	case errors.As(err, &failed):
		return fmt.Errorf("%s: %s", failed.Type(), failed.Message())
	case err != nil:
		if why := w.failing(ctx); why != "" {
			return fmt.Errorf("wait for the canary, which is tried again: %s", why)
		}
		return fmt.Errorf("wait for the canary: %w", s.explain(waiting, err, w.queue))
	}
	return s.print(out, report, func() { writeProbes(out, report) })
}

func writeProbes(out output, report canary.Report) {
	for _, probe := range report.Probes {
		fmt.Fprintln(out, probe)
	}
}
