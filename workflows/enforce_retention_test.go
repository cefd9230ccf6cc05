package workflows_test

import (
	"context"
	"strings"
	"testing"

	"millrace/workflows"
	"millrace/workflows/launch"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/snapshots"
	"millrace/deploy/local/localtest"
)

func TestEnforceRetention(t *testing.T) {
	t.Parallel()
	c := localtest.TemporalClient(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...))
	calls := make(chan snapshots.RetentionCall, 10)
	w := worker.New(c, workflows.SnapshotQueue, worker.Options{})
	w.RegisterWorkflow(workflows.EnforceRetention)
	w.RegisterActivityWithOptions(func(_ context.Context, in snapshots.RetentionCall) (snapshots.Retirement, error) {
		calls <- in
		result := snapshots.Retirement{Deleted: []string{"telemetry-span-2020.01.01"}, Documents: 3}
		if !in.DryRun {
			result.Uncovered = []string{"telemetry-log-2020.01.01: there is no good snapshot"}
		}
		return result, nil
	}, activity.RegisterOptions{Name: "EnforceRetention"})
	trims := make(chan snapshots.TrimCall, 10)
	w.RegisterActivityWithOptions(func(_ context.Context, in snapshots.TrimCall) (snapshots.Retirement, error) {
		trims <- in
		result := snapshots.Retirement{Trimmed: []snapshots.Trim{{Index: "telemetry-span-undated", Documents: 5, Left: 2}}}
		if !in.DryRun {
			result.Uncovered = []string{"telemetry-log-2019: 8 documents: there is no good snapshot"}
		}
		return result, nil
	}, activity.RegisterOptions{Name: "TrimIndices"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	id := workflows.RetentionID("s")
	run := func(in workflows.RetentionInput) (result snapshots.Retirement, err error) {
		started, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: workflows.SnapshotQueue}, workflows.EnforceRetention, in)
		if err != nil {
			t.Fatal(err)
		}
		return result, started.Get(t.Context(), &result)
	}
	s := server{c, launch.Launcher{Client: c}, t}

	result, err := run(workflows.RetentionInput{Days: map[string]int{"span": 7, workflows.DefaultDays: 30}, DryRun: true})
	if err != nil || len(result.Deleted) != 1 || result.Documents != 3 {
		t.Errorf("%+v, %v", result, err)
	}
	if call := <-calls; call.Days["span"] != 7 || call.Days["metric"] != 30 || call.Days["other"] != 30 || call.Repository != "millrace" || call.Indices[0] != "telemetry-*" {
		t.Errorf("it asked for %+v", call)
	}
	if trim := <-trims; trim.Days["span"] != 7 || !trim.DryRun || trim.For != workflows.TrimFor || result.TrimmedDocuments() != 5 || result.Trimmed[0].Left != 2 {
		t.Errorf("it asked for %+v, and answers %+v", trim, result)
	}
	s.keep("enforce_retention", id, "done")
	if _, err := run(workflows.RetentionInput{Days: map[string]int{"span": 7}}); kindOf(err) != workflows.RetentionUncovered || !strings.Contains(err.Error(), "telemetry-log-2020.01.01: there is no good snapshot; telemetry-log-2019: 8 documents: there is no good snapshot") {
		t.Errorf("with one that is not covered: %v", err)
	}
	if call := <-calls; len(call.Days) != 1 {
		t.Errorf("it asked for %+v", call)
	}
	s.keep("enforce_retention", id, "uncovered")
	for text, in := range map[string]workflows.RetentionInput{
		"days: say how long":          {},
		`there is no type "spam"`:     {Days: map[string]int{"spam": 3}},
		"span is kept for 0 days":     {Days: map[string]int{"span": 0}},
		`"*" does not begin with "te`: {Days: map[string]int{"span": 3}, Indices: []string{"*"}},
	} {
		if _, err := run(in); kindOf(err) != "InvalidInput" || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v", in, err)
		}
	}
	<-trims
	if len(calls)+len(trims) > 0 {
		t.Error("something was touched before it was checked")
	}
}
