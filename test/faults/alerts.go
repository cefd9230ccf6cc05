package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"millrace/deploy/local"
	"millrace/deploy/observability"
	"millrace/deploy/observability/prometheus"
	"millrace/test/kit/audit"
	"millrace/test/kit/poll"
)

const (
	// faster is the scale of time in the rules: a fault of two minutes is one of two hours to them.
	faster      = 1.0 / 60
	scrapeEvery = time.Second

	// mostConsequences is how many alerts a fault may cause, or not, beside those that it must.
	mostConsequences = 3
)

// alarms are the alerts of a scenario, decided before it runs. Any other is wrong.
type alarms struct {
	must []string
	may  []string // consequences that the fault need not have, at most mostConsequences
}

// late are the alerts of records that are late: to a Prometheus that has just come to know the pipeline, all windows are alike.
var late = []string{"DelayBudgetBurnsFast", "DelayBudgetBurns", "DelayBudgetBurnsSlowly"}

func andLate(others ...string) []string { return slices.Concat(late, others) }

// unrelated are alerts on what the pipeline of the scenarios does not have.
var unrelated = []string{"AuditsNotRun", "NothingIsBackedUp", "SnapshotsNotTaken"}

// watcher is a Prometheus that scrapes the pipeline during one scenario: a new one each time, or it would remember the
// fault before.
type watcher struct {
	server *prometheus.Server
	dir    string
	since  time.Time // when it knew the pipeline, and no alert fired
}

// watchAlerts starts a Prometheus, and waits until it knows both programs, and no alert fires.
func (h *harness) watchAlerts(ctx context.Context) (w *watcher, err error) {
	rules, err := observability.Rules(observability.Options{Scale: faster})
	if err != nil {
		return nil, err
	}
	w = &watcher{}
	if w.dir, err = os.MkdirTemp("", "faults-prometheus-"); err != nil {
		return nil, fmt.Errorf("make a folder for Prometheus: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.stop())
		}
	}()
	if w.server, err = prometheus.Start(ctx, prometheus.Settings{
		Program: h.prometheus, Dir: w.dir, Rules: rules, Every: scrapeEvery,
		Targets: map[string][]string{
			observability.CollectorJob: {strings.TrimPrefix(h.collector.Ops, "http://")},
			observability.WorkerJob:    {strings.TrimPrefix(h.worker.Ops, "http://")},
		},
	}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, longest, errors.New("prometheus does not scrape both programs, or an alert fires before the fault"))
	defer cancel()
	known := fmt.Sprintf(`sum(up) == 2 and on () count(millrace_process_lag_seconds) unless on () ALERTS{alertstate="firing", alertname!~%q}`, strings.Join(unrelated, "|"))
	return w, poll.Until(ctx, func() (bool, error) {
		w.since = time.Now()
		calm, err := w.ask(ctx, known)
		return len(calm) > 0, err
	})
}

// runWatched runs a scenario, and compares the alerts that it causes with those that it should.
func (h *harness) runWatched(ctx context.Context, what scenario) (report audit.Report, wrongAlerts int, err error) {
	if h.prometheus == "" {
		report, err = h.run(ctx, what)
		return report, 0, err
	}
	w, err := h.watchAlerts(ctx)
	if err != nil {
		return report, 0, err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	if report, err = h.run(ctx, what); ctx.Err() != nil {
		return report, 0, err
	}
	fired, wrong, failed := w.judge(ctx, what.alarms)
	fmt.Printf("   alerts: %s\n", cmp.Or(strings.Join(fired, ", "), "none"))
	return report, len(wrong), errors.Join(append(wrong, err, failed)...)
}

// judge compares what has fired with what must, which may take until the next scrapes.
func (w *watcher) judge(ctx context.Context, expected alarms) (fired []string, wrong []error, err error) {
	silent := errors.New("an alert stays silent")
	within, cancel := context.WithTimeoutCause(ctx, longest, silent)
	defer cancel()
	err = poll.Until(within, func() (bool, error) {
		fired, err = w.fired(ctx)
		return len(missing(expected.must, fired)) == 0, err
	})
	if err != nil && !errors.Is(err, silent) {
		return nil, nil, err
	}
	for _, name := range missing(expected.must, fired) {
		wrong = append(wrong, fmt.Errorf("the alert %s does not fire", name))
	}
	fired = missing(fired, unrelated)
	for _, name := range missing(fired, slices.Concat(expected.must, expected.may)) {
		wrong = append(wrong, fmt.Errorf("the alert %s fires, for which the fault is no reason", name))
	}
	return fired, wrong, nil
}

// missing are those of some names that others lack.
func missing(of, in []string) []string {
	return slices.DeleteFunc(slices.Clone(of), func(name string) bool { return slices.Contains(in, name) })
}

// fired are the alerts that have fired since then.
func (w *watcher) fired(ctx context.Context) (names []string, err error) {
	series, err := w.ask(ctx, fmt.Sprintf(`count by (alertname) (max_over_time(ALERTS{alertstate="firing"}[%dms]))`, time.Since(w.since).Milliseconds()))
	for _, s := range series {
		names = append(names, string(s.Metric["alertname"]))
	}
	slices.Sort(names)
	return names, err
}

func (w *watcher) ask(ctx context.Context, expr string) (model.Vector, error) {
	value, _, _, err := w.server.API.Query(ctx, expr, time.Now())
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus: %w", err)
	}
	vector, is := value.(model.Vector)
	if !is {
		return nil, fmt.Errorf("ask Prometheus: %s is a %s", expr, value.Type())
	}
	return vector, nil
}

func (w *watcher) stop() (err error) {
	if w.server != nil {
		err = w.server.Stop()
	}
	return errors.Join(err, os.RemoveAll(w.dir))
}

// buildPrometheus compiles Prometheus if it is not there.
func (h *harness) buildPrometheus(ctx context.Context) error {
	root, err := local.FindRoot(".")
	if err != nil {
		return err
	}
	h.prometheus, err = prometheus.BuildServer(ctx, root)
	return err
}
