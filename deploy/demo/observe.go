package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"millrace/deploy/observability"
	"millrace/deploy/observability/prometheus"
)

// scrapeEvery is less than the rules expect, so that graphs show the minute of the demo.
const scrapeEvery = 5 * time.Second

// observe starts a Prometheus that watches collector and worker.
func (d *demo) observe(ctx context.Context, root, program string) error {
	rules, err := observability.Rules(observability.Options{Docs: filepath.Join(root, "docs") + "/"})
	if err != nil {
		return err
	}
	dir := filepath.Join(d.stack.LogDir(), "prometheus")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make a folder for Prometheus: %w", err)
	}
	d.prometheus, err = prometheus.Start(ctx, prometheus.Settings{
		Program: program, Dir: dir, Rules: rules, Every: scrapeEvery, UsualPort: true,
		Targets: map[string][]string{
			observability.CollectorJob: {strings.TrimPrefix(d.collector.Ops, "http://")},
			observability.WorkerJob:    {strings.TrimPrefix(d.worker.Ops, "http://")},
		},
	})
	if err != nil {
		return err
	}
	say("prometheus", "scrapes collector and worker, at %s", d.prometheus.URL)
	return nil
}

// inviteToObserve prints how to ask Prometheus, which has an API and no pages.
func (d *demo) inviteToObserve(w io.Writer) {
	if d.prometheus == nil {
		return
	}
	fmt.Fprintf(w, `
Prometheus     %[1]s (API; a data source for a Grafana of yours, with deploy/observability/dashboards)

  curl '%[1]s/api/v1/alerts'                                               which alerts fire?
  curl '%[1]s/api/v1/query' --data-urlencode 'query=%[2]s'
`, d.prometheus.URL, "histogram_quantile(0.99, sum by (le) (rate(millrace_delay_seconds_bucket[1m])))")
}
