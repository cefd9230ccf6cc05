package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/deploy/observability"
)

// result is the last line.
type result struct {
	Accepted uint64 `json:"accepted"` // records of the load
	Lost     uint64 `json:"lost"`

	Alerts       int `json:"alerts"`        // rules
	AlertsTested int `json:"alerts_tested"` // that promtool has seen fire, and stay silent
	// AlertsWrong are those that fired without reason, or did not fire, in the acts of the tour and the scenarios of test/faults.
	AlertsWrong    int `json:"alerts_wrong"`
	FaultScenarios int `json:"fault_scenarios"`

	Panels      int `json:"panels"`
	PanelsEmpty int `json:"panels_empty"` // behind the breakages, but for those that say what they wait for

	FindP99     float64 `json:"find_p99_ms"`
	FindIDs     int     `json:"find_ids"`
	ResidualMax int64   `json:"residual_max"`
	Kills       int     `json:"kills"` // in the soak

	// CanaryAvailability is the share of the canary's records that could be searched in time, the breakages included.
	CanaryAvailability float64 `json:"canary_availability"`
	PauseHeld          int64   `json:"pause_held_records"` // documents that were made while all shards were paused

	TctlCommands     int `json:"tctl_commands"`
	TemporalCommands int `json:"temporal_commands"`
	CommandsFailed   int `json:"commands_failed"`
}

// mostFind is how long a look-up may take in milliseconds, in 99 of 100 cases.
const mostFind = 2000

// check says what is not as it should be.
func (r result) check(proofs bool) error {
	var errs []error
	wrong := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	wrong(r.Lost > 0, "%d records are lost", r.Lost)
	wrong(r.AlertsWrong > 0, "%d alerts are wrong", r.AlertsWrong)
	wrong(r.PanelsEmpty > 0, "%d panels are empty", r.PanelsEmpty)
	wrong(r.PauseHeld != 0, "%d documents were made while all shards were paused", r.PauseHeld)
	wrong(r.CanaryAvailability == 0, "no record of the canary could be searched")
	if proofs {
		wrong(r.AlertsTested != r.Alerts, "%d of %d alerts are tested", r.AlertsTested, r.Alerts)
		wrong(r.FindIDs == 0 || r.Kills == 0, "the look-ups or the soak did not end")
		wrong(r.FindP99 > mostFind, "a look-up takes %.0f ms", r.FindP99)
		wrong(r.ResidualMax > 0, "%d records of the backup are missing", r.ResidualMax)
		wrong(r.TctlCommands == 0 || r.TemporalCommands == 0, "no command of the documents was run")
		wrong(r.CommandsFailed > 0, "%d commands of the documents fail", r.CommandsFailed)
	}
	return errors.Join(errs...)
}

// window is that of the panels' rates: long enough for all that has happened.
const window = time.Hour

// shownFor is what a panel shows: a line that has points in it is not empty, also where there is none at this moment, since a
// rate over five minutes, which are seconds here, has one only while something happens.
const shownFor = time.Minute

// measure counts panels, rules, and what the canary met, while everything still runs.
func (t *tour) measure(ctx context.Context) error {
	for _, group := range observability.Groups() {
		t.result.Alerts += len(group.Alerts)
	}
	fmt.Println()
	for _, d := range observability.Dashboards() {
		for _, row := range d.Rows {
			for _, p := range row.Panels {
				t.result.Panels++
				if p.Empty != "" {
					continue
				}
				empty, err := t.empty(ctx, p)
				if err != nil {
					return err
				}
				if empty != "" {
					t.result.PanelsEmpty++
					say("EMPTY", "%s/%s/%s: %s", d.ID, row.Title, p.Title, empty)
				}
			}
		}
	}
	say("panels", "%d, %d of them empty", t.result.Panels, t.result.PanelsEmpty)
	if err := t.countCanary(ctx); err != nil {
		return err
	}
	t.result.CanaryAvailability = t.canary.searchable / max(1, t.canary.posted)
	say("canary", "%.0f of %.0f records could be searched in time", t.canary.searchable, t.canary.posted)
	say("pause", "%d documents were made while all shards were paused, under load", t.result.PauseHeld)
	return nil
}

// empty returns a query of a panel that has no result.
func (t *tour) empty(ctx context.Context, p observability.Panel) (string, error) {
	for _, q := range p.Queries {
		expr := q.Filled(window)
		shown, err := t.alarms.Shows(ctx, expr, shownFor)
		if err != nil {
			return "", fmt.Errorf("panel %s: %w", p.Title, err)
		}
		if !shown {
			return expr, nil
		}
	}
	return "", nil
}
