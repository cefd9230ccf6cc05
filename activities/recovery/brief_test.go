package recovery

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"go.temporal.io/sdk/converter"

	"millrace/internal/index"
	"millrace/internal/snapshot"
)

// untouched is a bucket of which retention has never taken anything: no test waits
// for its answers, of which there are many.
type untouched struct{ Bucket }

// Get implements Bucket.
func (u untouched) Get(ctx context.Context, key string) ([]byte, error) {
	if strings.HasPrefix(key, "retired/") || strings.HasPrefix(key, "trimmed/") {
		return nil, fs.ErrNotExist
	}
	return u.Bucket.Get(ctx, key)
}

// TestPayloadsDoNotGrowWithTheNumberOfIndices: Temporal takes 2 MiB, and warns from
// a quarter of that on.
func TestPayloadsDoNotGrowWithTheNumberOfIndices(t *testing.T) {
	const indices, room = 20_000, 512 << 10
	p := newPlanner(t)
	p.Bucket = untouched{p.Bucket}
	made := p.began.Add(-1)
	taken := snapshot.Record{Indices: map[string]snapshot.Index{}}
	for n := range indices {
		name := fmt.Sprintf("telemetry-some-type-of-records-%05d", n)
		taken.Indices[name] = snapshot.Index{Documents: 10, Created: made}
		if n%2 == 0 { // it stays, and has fewer
			p.cluster.states[name] = index.State{Health: "green", Created: made, Documents: 9}
		}
	}
	p.record(taken)
	fits := func(what string, value any) {
		t.Helper()
		payload, err := converter.GetDefaultDataConverter().ToPayload(value)
		if err != nil || len(payload.GetData()) > room {
			t.Errorf("%s has %d bytes, %v", what, len(payload.GetData()), err)
		}
	}
	plan, err := p.PlanRecovery(t.Context(), PlanInput{ID: "a", Freeze: true})
	if err != nil {
		t.Fatal(err)
	}
	fits("the plan", plan)
	want := PlanCounts{Restore: indices / 2, Keep: indices / 2, Fewer: indices / 2}
	want.Warnings = plan.Counts.Warnings
	if plan.Counts != want || len(plan.Restore) != mostListed || len(plan.Keep) != mostListed || len(plan.Fewer) != mostListed {
		t.Errorf("it counts %+v, and lists %d, %d, %d", plan.Counts, len(plan.Restore), len(plan.Keep), len(plan.Fewer))
	}
	lines := strings.Join(plan.Lines(), "\n")
	for _, text := range []string{
		fmt.Sprintf("and %d indices more", indices/2-mostNamed), fmt.Sprintf("keep %d indices", indices/2),
		fmt.Sprintf("%d indices more stay, although they have fewer documents than the snapshot", indices/2-mostNamed), "the backup has no object",
	} {
		if !strings.Contains(lines, text) {
			t.Errorf("nothing says %q:\n%s", text, lines)
		}
	}
	whole, err := readPlan(t.Context(), p.Bucket, plan.Papers)
	if err != nil || len(whole.Restore) != indices/2 || len(whole.Keep) != indices/2 || len(whole.Fewer) != indices/2 {
		t.Errorf("the plan in the bucket lists %d, %d, %d: %v", len(whole.Restore), len(whole.Keep), len(whole.Fewer), err)
	}
	extended, err := p.ExtendWindow(t.Context(), ExtendInput{Papers: plan.Papers, Reached: p.reached})
	if err != nil || extended.Counts != plan.Counts {
		t.Errorf("extended it counts %+v, %v", extended.Counts, err)
	}
	fits("the plan that is extended", extended)

	last := whole.Restore[len(whole.Restore)-1].Name
	for _, one := range whole.Restore {
		p.cluster.states[one.Name] = index.State{Health: "green", Created: made, Documents: 10}
	}
	p.cluster.states[last] = index.State{Health: "green", Created: made, Documents: 7}
	f := &following{Recoverer: p.Recoverer, plan: whole}
	if err := f.count(t.Context()); err != nil {
		t.Fatal(err)
	}
	progress := f.state()
	fits("the restore", progress)
	if n, documents := progress.Total(); n != indices/2 || documents != 10*indices/2-3 || progress.Restored[0] != (Restored{Index: last, Documents: 7, Wanted: 10}) {
		t.Errorf("restored are %d indices with %d documents, first %+v", n, documents, progress.Restored[0])
	}
	result := RecoverResult{Plan: extended, Restored: progress.Restored}
	for _, list := range [][]Restored{extended.Fewer, progress.Restored} {
		for _, one := range list {
			result.Missing = append(result.Missing, Gap{Index: one.Index, Records: one.Wanted - one.Documents, Reason: "the index was kept, and has fewer documents than the snapshot"})
		}
	}
	fits("the result", result)
}
