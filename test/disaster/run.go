package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/test/kit/audit"
	"millrace/test/kit/tap"
)

// harness holds what all scenarios share.
type harness struct {
	options  options
	stack    *local.Stack
	programs pipeline.Programs
	tap      *tap.Tap
}

// scenario is a disaster that Recover must undo. The product has drills of its
// own (workflow DrillRecovery); a scenario is not one of them.
type scenario struct {
	name  string
	run   func(context.Context, *rehearsal) error
	paced bool // it is long enough to tell whether the backfill gives way to live traffic
}

func names() (all []string) {
	for _, s := range scenarios {
		all = append(all, s.name)
	}
	return all
}

// choose returns the scenarios of these names; all without any.
func choose(only []string) ([]scenario, error) {
	if len(only) == 0 {
		return scenarios, nil
	}
	var chosen []scenario
	for _, name := range only {
		i := slices.Index(names(), name)
		if i < 0 {
			return nil, fmt.Errorf("--only: there is no scenario %q, but %s", name, strings.Join(names(), ", "))
		}
		chosen = append(chosen, scenarios[i])
	}
	return chosen, nil
}

// result is the last line: of the first scenario, and what is missing or
// duplicated after all of them.
type result struct {
	RecordsRecovered  int     `json:"records_recovered"`
	RecordsS          float64 `json:"records_s"`
	SecondsToVerified float64 `json:"seconds_to_verified"`
	LiveP99MsBefore   int64   `json:"live_p99_ms_before"`
	LiveP99MsRestore  int64   `json:"live_p99_ms_restore"`
	LiveP99MsBackfill int64   `json:"live_p99_ms_backfill"`
	LiveP99MsAfter    int64   `json:"live_p99_ms_after"`
	Missing           uint64  `json:"missing"`
	Duplicated        uint64  `json:"duplicated"`
	Scenarios         int     `json:"scenarios"`
	Passed            int     `json:"passed"`
}

func run(ctx context.Context, o options) (err error) {
	chosen, err := choose(o.Only)
	if err != nil {
		return err
	}
	stack, programs, err := pipeline.StartServers(ctx, local.Options{Progress: os.Stdout})
	if err != nil {
		return err
	}
	h := &harness{options: o, stack: stack, programs: programs}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	if h.tap, err = tap.Start(ctx, stack.Service(local.Elasticsearch).URL()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.tap.Close()) }()
	return h.runAll(ctx, chosen)
}

// runAll runs scenarios, one after the other.
func (h *harness) runAll(ctx context.Context, chosen []scenario) error {
	var total result
	var rows []string
	var wrong []error
	for _, what := range chosen {
		began := time.Now()
		one, err := h.run(ctx, what)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if total.Scenarios == 0 {
			total = one.result
		} else {
			total.Missing, total.Duplicated = total.Missing+one.Missing, total.Duplicated+one.Duplicated
		}
		total.Scenarios++
		outcome := "passed"
		if err != nil {
			outcome = "FAILED"
			wrong = append(wrong, fmt.Errorf("scenario %s: %w", what.name, err))
			if err := h.mend(ctx); err != nil {
				return errors.Join(append(wrong, err)...)
			}
		} else {
			total.Passed++
		}
		rows = append(rows, one.row(what.name, outcome, time.Since(began)))
	}
	fmt.Printf("\n%-24s %8s %8s %8s %8s %8s %6s %8s %8s %8s %8s %6s\n", "", "accepted", "indexed", "dead", "missing", "recov.", "dupl.", "before", "restore", "backfill", "after", "took")
	fmt.Println(strings.Join(rows, "\n"))
	return errors.Join(json.NewEncoder(os.Stdout).Encode(total), errors.Join(wrong...))
}

// mend starts what a scenario that failed has left dead.
func (h *harness) mend(ctx context.Context) error {
	for _, server := range h.stack.Services() {
		if server.Pid() == 0 {
			if err := server.Restart(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// figures are what came of one scenario.
type figures struct {
	result
	audited audit.Report
}

const (
	// mostDelay is how many times as long as normally live records may take while
	// the backfill gives way to them.
	mostDelay = 2
	// leastNormalMs is what counts as normal at the least, in ms: of a quicker
	// pipeline twice as long is noise on a machine that does all of this at once.
	leastNormalMs = 500
)

// gaveWay reports whether live records took about as long during the backfill
// as before the disaster, or after the recovery.
func (f figures) gaveWay() error {
	normal := max(f.LiveP99MsBefore, f.LiveP99MsAfter, leastNormalMs)
	if f.LiveP99MsBackfill <= mostDelay*normal {
		return nil
	}
	return fmt.Errorf("during the backfill live records took %d ms (p99), more than %d times the %d ms that are normal", f.LiveP99MsBackfill, mostDelay, normal)
}

// row is the scenario's line of the table. Delays are the 99th percentile, in ms.
func (f figures) row(name, outcome string, took time.Duration) string {
	a := f.audited
	return fmt.Sprintf("%-17s %s %8d %8d %8d %8d %8d %6d %8d %8d %8d %8d %4.0f s", name, outcome, a.Accepted, a.Indexed, a.DeadLettered,
		a.Lost, f.RecordsRecovered, a.Duplicated, f.LiveP99MsBefore, f.LiveP99MsRestore, f.LiveP99MsBackfill, f.LiveP99MsAfter, took.Seconds())
}

// measure makes the figures of a scenario that is over.
func (r *rehearsal) measure(report audit.Report) figures {
	f := figures{audited: report}
	f.Missing, f.Duplicated = report.Lost, report.Duplicated
	if r.verified.IsZero() {
		return f
	}
	f.RecordsRecovered = max(0, r.taken-int(report.Lost))
	took := r.verified.Sub(r.begun).Seconds()
	f.SecondsToVerified, f.RecordsS = round(took), round(float64(f.RecordsRecovered)/took)
	caughtUp := r.live.caughtUp(r.released)
	p99 := func(from, to time.Time) int64 { return r.live.delays(from, to).Quantile(0.99).Milliseconds() }
	f.LiveP99MsBefore, f.LiveP99MsRestore = p99(r.steady, r.struck), p99(r.struck, caughtUp)
	f.LiveP99MsBackfill, f.LiveP99MsAfter = p99(caughtUp, r.verified), p99(r.verified, time.Now())
	return f
}

// round to one digit behind the point.
func round(x float64) float64 { return math.Round(10*x) / 10 }
