package recovery

import (
	"errors"
	"maps"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"millrace/workflows"
)

// backedUp is a pipeline of which a part is in a snapshot, and all is in the
// backup, but for records that are in processing.
func backedUp(t *testing.T) *pipeline {
	t.Helper()
	p := newPipeline(t)
	p.send("before", 600, 0)
	p.indexed()
	p.snapshot()
	p.send("after", 700, 2)
	p.indexed()
	p.backUp()
	return p
}

// drill runs a drill under an id such as a schedule gives it.
func (p *pipeline) drill(in workflows.DrillInput) (client.WorkflowRun, workflows.DrillResult, error) {
	p.t.Helper()
	in.Indices = []string{p.indices + "*"}
	run, err := p.client.ExecuteWorkflow(p.t.Context(), client.StartWorkflowOptions{
		ID: workflows.DrillID + "-2026-11-24T09:00:00Z", TaskQueue: workflows.RecoverQueue,
	}, workflows.DrillRecovery, in)
	p.must(err)
	var result workflows.DrillResult
	return run, result, run.Get(p.t.Context(), &result)
}

// inner is the run of the drill itself.
func (p *pipeline) inner() client.WorkflowRun {
	return p.client.GetWorkflow(p.t.Context(), workflows.DrillID, "")
}

// untouched asserts that nothing of a drill is left, and that nothing which was
// there was touched.
func (p *pipeline) untouched(before map[string]string) {
	p.t.Helper()
	if after := p.uuids(); !maps.Equal(before, after) {
		p.t.Errorf("the indices were %v, and are %v", before, after)
	}
	if !p.running() {
		p.t.Error("shards do not go on")
	}
	p.complete()
}

func (p *pipeline) uuids() map[string]string {
	uuids := map[string]string{}
	for name, state := range p.states() {
		uuids[name] = state.UUID
	}
	return uuids
}

// ended is how many drills of this process have ended so.
func ended(t *testing.T, result string) (n float64) {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "millrace_drills_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			if metric.GetLabel()[0].GetValue() == result {
				n += metric.GetCounter().GetValue()
			}
		}
	}
	return n
}

// failure is the type of what a drill failed with.
func failure(err error) string {
	var application *temporal.ApplicationError
	if !errors.As(err, &application) {
		return ""
	}
	return application.Type()
}
