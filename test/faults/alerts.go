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

// runWatched runs a scenario, and compares the alerts that it causes with those that it should. Each has a Prometheus of
// its own, or that would remember the fault before.
func (h *harness) runWatched(ctx context.Context, what scenario) (report audit.Report, wrongAlerts int, err error) {
	if h.prometheus == "" {
		report, err = h.run(ctx, what)
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
