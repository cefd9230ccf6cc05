package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/test/kit/alarms"
	"millrace/test/kit/audit"
)

// result is the last line.
type result struct {
	Scenarios   int    `json:"scenarios"`
	Passed      int    `json:"passed"`
	Accepted    uint64 `json:"accepted"`
	Lost        uint64 `json:"lost"`
	Duplicated  uint64 `json:"duplicated"`
	AlertsWrong int    `json:"alerts_wrong"` // that fired without reason, or did not
}

func run(ctx context.Context, o options) (err error) {
	what, err := plan(&o)
	if err != nil {
		return err
	}
	// Kinesalite, since MiniStack cannot split a shard.
	stack, programs, err := pipeline.StartServers(ctx, local.Options{Progress: os.Stdout, Services: []string{local.Kinesalite}})
	if err != nil {
		return err
	}
	h := &harness{options: o, stack: stack, programs: programs}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.open(ctx); err != nil {
		return err
	}
	return what(ctx, h)
}

// plan decides what is to be run, and completes the options for it.
func plan(o *options) (func(context.Context, *harness) error, error) {
	switch {
	case o.Mutants:
		return planMutants(o.Only)
	case o.Mix > 0:
		return runAll([]scenario{mixed(o)}), nil
	}
	chosen, err := choose(o.Only, o.Alerts)
	return func(ctx context.Context, h *harness) (err error) {
		if o.Alerts {
			if h.prometheus, err = alarms.Build(ctx); err != nil {
				return err
			}
		}
		return runAll(chosen)(ctx, h)
	}, err
}

const heading = "%-34s %8s %8s %8s %8s %6s %6s %9s %8s\n"

// runAll runs scenarios in one pipeline.
func runAll(chosen []scenario) func(context.Context, *harness) error {
	return func(ctx context.Context, h *harness) error {
		if err := h.start(ctx, h.programs, "", append(slices.Clone(chosen), warmUp)...); err != nil {
			return err
		}
		var total result
		var wrong []error
		began := time.Now()
		fmt.Printf(heading, "scenario", "sent", "accepted", "indexed", "dead", "dupl.", "lost", "recovery", "took")
		for _, s := range chosen {
			report, wrongAlerts, err := h.runWatched(ctx, s)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			total.Scenarios++
			total.Accepted += report.Accepted
			total.Lost += report.Lost
			total.Duplicated += report.Duplicated
			total.AlertsWrong += wrongAlerts
			if err != nil {
				fmt.Printf("%2d %-31s failed: %v\n", s.number, s.name, err)
				wrong = append(wrong, fmt.Errorf("scenario %d %s: %w", s.number, s.name, err))
				if err := h.mend(ctx); err != nil {
					return errors.Join(append(wrong, err)...)
				}
				continue
			}
			total.Passed++
		}
		fmt.Printf("%d of %d scenarios passed in %.0f s\n", total.Passed, total.Scenarios, time.Since(began).Seconds())
		return errors.Join(json.NewEncoder(os.Stdout).Encode(total), errors.Join(wrong...))
	}
}

// row is a scenario's line of the table.
func (s *running) row(report audit.Report, recovery, took time.Duration) {
	counts := s.sender.Counts()
	fmt.Printf("%2d %-31s %8d %8d %8d %8d %6d %6d %7.1f s %6.0f s\n", s.number, s.name, counts.Posted+counts.Duplicates,
		report.Accepted, report.Indexed, report.DeadLettered, report.Duplicated, report.Lost, recovery.Seconds(), took.Seconds())
}
