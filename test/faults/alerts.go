package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"millrace/test/kit/alarms"
	"millrace/test/kit/audit"
)

// mostConsequences is how many alerts a fault may cause, or not, beside those that it must. The three paces at which one
// error budget burns are one.
const mostConsequences = 3

// unrelated are alerts on what the pipeline of the scenarios does not have.
var unrelated = []string{"AuditsNotRun", "NothingIsBackedUp", "SnapshotsNotTaken"}

// warmUp is a load without a fault.
var warmUp = scenario{name: "warm-up"}

// warm sends it where the worker has counted few records in time: it has not made the indices yet, or has just been
// restarted, and indexed late what waited. To a Prometheus that has just come to know the pipeline, records in time would
// seem fewer than all by the extrapolation of rate, which does not go below zero.
func (h *harness) warm(ctx context.Context) error {
	const inTime = 2000
	counted, err := h.worker.Metric(ctx, "millrace_delay_seconds_bucket", `le="2.5"`)
	if err != nil || counted >= inTime {
		return err
	}
	if _, err := h.run(ctx, warmUp); err != nil {
		return fmt.Errorf("warm up: %w", err)
	}
	return nil
}

// runWatched runs a scenario, and compares the alerts that it causes with those that it should. Each has a Prometheus of
// its own, or that would remember the fault before.
func (h *harness) runWatched(ctx context.Context, what scenario) (report audit.Report, wrongAlerts int, err error) {
	if h.prometheus == "" {
		report, err = h.run(ctx, what)
		return report, 0, err
	}
	if err := h.warm(ctx); err != nil {
		return report, 0, err
	}
	w, err := alarms.Start(ctx, h.prometheus, h.collector, h.worker, unrelated...)
	if err != nil {
		return report, 0, err
	}
	h.watcher = w
	defer func() {
		h.watcher = nil
		err = errors.Join(err, w.Stop())
	}()
	if err := w.Await(ctx, longest); err != nil {
		return report, 0, err
	}
	if report, err = h.run(ctx, what); ctx.Err() != nil {
		return report, 0, err
	}
	fired, wrong, failed := w.Judge(ctx, longest, what.alarms)
	fmt.Printf("   alerts: %s\n", cmp.Or(strings.Join(fired, ", "), "none"))
	return report, len(wrong), errors.Join(append(wrong, err, failed)...)
}
