// Package alarms says which alerts of ours a real Prometheus fires while something happens, and which of them are wrong.
package alarms

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	api "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"millrace/deploy/local"
	"millrace/deploy/observability"
	"millrace/deploy/observability/prometheus"
	"millrace/deploy/pipeline"
	"millrace/test/kit/poll"
)

const (
	// faster is the scale of time in the rules: a fault of two minutes is one of two hours to them.
	faster      = 1.0 / 60
	scrapeEvery = time.Second
)

// Late are the alerts of records that are late: to a Prometheus that has just come to know the pipeline, all windows are alike.
var Late = []string{"DelayBudgetBurnsFast", "DelayBudgetBurns", "DelayBudgetBurnsSlowly"}

// AndLate are some alerts, and those of records that are late.
func AndLate(others ...string) []string { return slices.Concat(Late, others) }

// Expected are the alerts of something that happens, decided before. Any other is wrong.
type Expected struct {
	Must []string
	May  []string // consequences that it need not have
}

// Watcher is a Prometheus, to which a second is a minute, that scrapes a collector and a worker.
type Watcher struct {
	*prometheus.Server
	// Ignored are alerts on what the pipeline does not have.
	Ignored []string
	dir     string
	since   time.Time
	before  []string             // what was active when it began to look
	began   map[string]time.Time // when what has fired since did so first
}

// Build compiles Prometheus if it is not there, and returns the path of the program.
func Build(ctx context.Context) (string, error) {
	root, err := local.FindRoot(".")
	if err != nil {
		return "", err
	}
	return prometheus.BuildServer(ctx, root)
}

// Start starts the program.
func Start(ctx context.Context, program string, collector, worker *pipeline.Program, ignored ...string) (w *Watcher, err error) {
	rules, err := observability.Rules(observability.Options{Scale: faster})
	if err != nil {
		return nil, err
	}
	w = &Watcher{Ignored: ignored}
	if w.dir, err = os.MkdirTemp("", "alarms-prometheus-"); err != nil {
		return nil, fmt.Errorf("make a folder for Prometheus: %w", err)
	}
	w.Server, err = prometheus.Start(ctx, prometheus.Settings{
		Program: program, Dir: w.dir, Rules: rules, Every: scrapeEvery,
		Targets: map[string][]string{
			observability.CollectorJob: {strings.TrimPrefix(collector.Ops, "http://")},
			observability.WorkerJob:    {strings.TrimPrefix(worker.Ops, "http://")},
		},
	})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(w.dir))
	}
	return w, nil
}

// Stop ends it.
func (w *Watcher) Stop() error { return errors.Join(w.Server.Stop(), os.RemoveAll(w.dir)) }

// Await waits until it knows both programs, and no alert fires or is about to, but the ignored ones and some others. From
// then on it looks.
func (w *Watcher) Await(ctx context.Context, within time.Duration, but ...string) error {
	late := errors.New("waited too long")
	ctx, cancel := context.WithTimeoutCause(ctx, within, late)
	defer cancel()
	const known = `sum(up) == 2 and on () count(millrace_process_lag_seconds)`
	there, others := model.Vector{}, []string{}
	err := poll.Until(ctx, func() (_ bool, err error) {
		w.since = time.Now()
		if there, err = w.Ask(ctx, known); err != nil {
			return false, err
		}
		w.before, err = w.active(ctx)
		others = missing(w.before, slices.Concat(w.Ignored, but))
		return len(there) > 0 && len(others) == 0, err
	})
	if errors.Is(context.Cause(ctx), late) {
		return fmt.Errorf("%w before anything happens: Prometheus knows both programs: %t; alerts: %q", late, len(there) > 0, others)
	}
	return err
}

// Judge compares what has fired since Await with what must, for which it waits, and may.
func (w *Watcher) Judge(ctx context.Context, within time.Duration, expected Expected) (fired []string, wrong []error, err error) {
	if fired, err = w.Fired(ctx, within, expected.Must...); err != nil {
		return nil, nil, err
	}
	for _, name := range missing(expected.Must, fired) {
		wrong = append(wrong, fmt.Errorf("the alert %s does not fire", name))
	}
	fired = missing(fired, w.Ignored)
	for _, name := range missing(fired, slices.Concat(expected.Must, expected.May, w.before)) {
		wrong = append(wrong, fmt.Errorf("the alert %s fires at %s, for which there is no reason", name, w.began[name].UTC().Format(time.TimeOnly)))
	}
	return fired, wrong, nil
}

// Fired waits until some alerts have fired since Await, at the most for a while, and returns all that have.
func (w *Watcher) Fired(ctx context.Context, within time.Duration, alerts ...string) (fired []string, err error) {
	silent := errors.New("an alert stays silent")
	ctx, cancel := context.WithTimeoutCause(ctx, within, silent)
	defer cancel()
	err = poll.Until(ctx, func() (bool, error) {
		names, err := w.fired(ctx)
		if err == nil { // the last question fails where the time is over meanwhile
			fired = names
		}
		return len(missing(alerts, fired)) == 0, err
	})
	if errors.Is(err, silent) {
		err = nil
	}
	return fired, err
}

// missing are those of some names that others lack.
func missing(of, in []string) []string {
	return slices.DeleteFunc(slices.Clone(of), func(name string) bool { return slices.Contains(in, name) })
}

func (w *Watcher) active(ctx context.Context) ([]string, error) {
	found, err := w.alerts(ctx, `count by (alertname) (ALERTS)`) // a pending one would fire without reason
	return slices.Sorted(maps.Keys(found)), err
}

// fired are the alerts that have fired since Await.
func (w *Watcher) fired(ctx context.Context) ([]string, error) {
	found, err := w.alerts(ctx, fmt.Sprintf(`min by (alertname) (min_over_time(timestamp(ALERTS{alertstate="firing"})[%dms:%s]))`,
		time.Since(w.since).Milliseconds(), model.Duration(scrapeEvery)))
	if err != nil {
		return nil, err
	}
	w.began = map[string]time.Time{}
	for name, at := range found {
		w.began[name] = time.Unix(int64(at), 0)
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// alerts evaluates an expression that gives a number for each alert.
func (w *Watcher) alerts(ctx context.Context, expr string) (found map[string]float64, err error) {
	series, err := w.Ask(ctx, expr)
	found = map[string]float64{}
	for _, s := range series {
		found[string(s.Metric["alertname"])] = float64(s.Value)
	}
	return found, err
}

// Shows reports whether an expression has had a value within that time, as a panel shows it.
func (w *Watcher) Shows(ctx context.Context, expr string, within time.Duration) (bool, error) {
	now := time.Now()
	value, _, _, err := w.API.QueryRange(ctx, expr, api.Range{Start: now.Add(-within), End: now, Step: time.Second})
	if err != nil {
		return false, fmt.Errorf("ask Prometheus: %w", err)
	}
	matrix, is := value.(model.Matrix)
	if !is {
		return false, fmt.Errorf("ask Prometheus: %s is a %s", expr, value.Type())
	}
	return slices.ContainsFunc(matrix, func(s *model.SampleStream) bool {
		return slices.ContainsFunc(s.Values, func(v model.SamplePair) bool { return !math.IsNaN(float64(v.Value)) })
	}), nil
}

// Ask evaluates an expression at present. A quantile of nothing is no result.
func (w *Watcher) Ask(ctx context.Context, expr string) (model.Vector, error) {
	value, _, _, err := w.API.Query(ctx, expr, time.Now())
	if err != nil {
		return nil, fmt.Errorf("ask Prometheus: %w", err)
	}
	vector, is := value.(model.Vector)
	if !is {
		return nil, fmt.Errorf("ask Prometheus: %s is a %s", expr, value.Type())
	}
	return slices.DeleteFunc(vector, func(s *model.Sample) bool { return math.IsNaN(float64(s.Value)) }), nil
}
