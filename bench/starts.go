package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"millrace/deploy/local"
)

// steps are where Temporal's server measures the start of a workflow, each within the one before, but for visibility, which
// comes later.
var steps = []struct{ name, metric, operation, service, what string }{
	{"frontend", "service_latency", "StartWorkflowExecution", "frontend", "the whole request in the server"},
	{"history", "service_latency", "StartWorkflowExecution", "history", "of that, in the history service"},
	{"store", "persistence_latency", "CreateWorkflowExecution", "history", "of that, the write of its store, SQLite with a write-ahead log"},
	{"task", "persistence_latency", "UpdateWorkflowExecution", "history", "each later write of the run"},
	{"visibility", "visibility_persistence_latency", "RecordWorkflowExecutionStarted", "history", "what the UI lists, behind the answer"},
}

// whereStartsGo finds out of the server's own metrics where the time of starts goes.
func (b *bench) whereStartsGo(ctx context.Context, loads ...*answers) error {
	for _, l := range loads {
		before, err := b.serverTimes(ctx)
		if err != nil {
			return err
		}
		seen, err := l.measure(ctx)
		if err != nil {
			return err
		}
		after, err := b.serverTimes(ctx)
		if err != nil {
			return err
		}
		say("starts", "%-10s %6.2f ms on average, from the outside", l.name, milliseconds(seen.Average()))
		for i, step := range steps {
			took, count := after[i].seconds-before[i].seconds, after[i].count-before[i].count
			if count == 0 {
				continue
			}
			say("starts", "%-10s %6.2f ms on average, %.0f times: %s, %s", l.name, 1e3*took/count, count, step.name, step.what)
			b.figures.add(fmt.Sprintf("start_%s_%s_ms", l.key, step.name), 1e3*took/count, "%s, by Temporal's own metrics; %.0f times", step.what, count)
		}
	}
	return nil
}

// stepTimes are how long a step took in all, and how often.
type stepTimes struct{ seconds, count float64 }

// serverTimes reads the steps of the server's metrics.
func (b *bench) serverTimes(ctx context.Context) (times []stepTimes, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.stack.Service(local.Temporal).MetricsURL(), nil)
	if err != nil {
		return times, fmt.Errorf("make a request: %w", err)
	}
	response, err := local.Client.Do(request)
	if err != nil {
		return times, fmt.Errorf("read Temporal's metrics: %w", err)
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return times, fmt.Errorf("parse Temporal's metrics: %w", err)
	}
	times = make([]stepTimes, len(steps))
	for i, step := range steps {
		for _, m := range families[step.metric].GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["operation"] == step.operation && labels["service_name"] == step.service && labels["namespace"] != "temporal_system" {
				times[i].seconds += m.GetHistogram().GetSampleSum()
				times[i].count += float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return times, nil
}
