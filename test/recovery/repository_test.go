package recovery

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"

	"millrace/activities/recovery"
	"millrace/deploy/local"
	"millrace/deploy/local/localtest"
	"millrace/internal/index"
	"millrace/internal/telemetry"
	"millrace/test/kit/faultproxy"
	"millrace/workflows"
)

// failsWith asserts that a recovery has failed, that it says so, and that the
// shards go on.
func (p *pipeline) failsWith(run client.WorkflowRun, text string) {
	p.t.Helper()
	err := run.Get(p.t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), text) {
		p.t.Errorf("it ended with %v, want %q", err, text)
	}
	p.await("the shards to go on", p.running)
}

// TestRecoverFailsWithoutRepository: the recovery says so and changes nothing, and once
// the repository is mended another one brings all back.
func TestRecoverFailsWithoutRepository(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.send("before", 400, 1)
	p.indexed()
	p.snapshot()
	p.send("after", 300, 0)
	p.indexed()
	p.backUp()
	left := ""
	for name := range p.states() { // one index is lost, the other is there
		if left != "" {
			p.must(p.documents.DeleteIndex(t.Context(), name))
			continue
		}
		left = name
	}
	there := p.states()[left]
	// All that Elasticsearch has cached of it, too, is read anew.
	folder := filepath.Join(localtest.SnapshotDir(t, local.Elasticsearch), p.repo)
	p.must(os.Chmod(folder, 0))
	t.Cleanup(func() { _ = os.Chmod(folder, 0o755) })
	run := p.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Replace: true}})
	p.failsWith(run, "snapshot snap in repository "+p.repo+" cannot be read, nothing was changed")
	if now := p.states(); len(now) != 1 || now[left].UUID != there.UUID || len(p.papers()) > 0 {
		t.Errorf("it has left %v, and written %q", now, p.papers())
	}
	p.keep(run, "recover_unreachable")
	p.must(os.Chmod(folder, 0o755))
	if result := p.result(p.begin(workflows.RecoverInput{})); !result.Complete || len(result.Restored) != 1 {
		t.Errorf("the result is %+v", result)
	}
	p.complete()
}

// TestRecoverFailsWhenRepositoryIsLost: the shards do not stand still for it for
// ever.
func TestRecoverFailsWhenRepositoryIsLost(t *testing.T) {
	t.Parallel()
	proxy, err := faultproxy.Start(t.Context(), localtest.Elasticsearch(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	p := newPipelineAt(t, proxy.URL())
	p.send("before", 400, 1)
	p.indexed()
	p.snapshot()
	p.backUp()
	p.disaster()
	proxy.Set(faultproxy.Rule{Name: "no restore", Method: http.MethodPost, Path: "/_snapshot/" + p.repo, Fault: faultproxy.Answer{
		Status: http.StatusInternalServerError, Header: http.Header{"Content-Type": {"application/json"}, "X-Elastic-Product": {"Elasticsearch"}},
		Body: `{"error":{"type":"repository_exception","reason":"connect timed out"},"status":500}`,
	}})
	run := p.begin(workflows.RecoverInput{})
	p.await("the pause", func() bool { return !p.running() })
	p.failsWith(run, "cannot be read, the restore was given up: status 500: repository_exception: connect timed out")
	if len(proxy.Log()) < 2 {
		t.Errorf("it was tried %d times", len(proxy.Log()))
	}
	proxy.Set()
	if result := p.result(p.begin(workflows.RecoverInput{})); !result.Complete || len(result.Restored) != 2 {
		t.Errorf("the result is %+v", result)
	}
	p.indexed()
	p.complete()
}

// TestRecoverRepairsRedAndReplacesDamagedIndices: one index has lost its shards, which is repaired by
// default, and another has lost documents, which is repaired when that is asked for.
func TestRecoverRepairsRedAndReplacesDamagedIndices(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.send("before", 600, 2)
	p.indexed()
	p.passed()
	p.snapshot()
	p.send("after", 20, 1)
	p.indexed()
	p.backUp()
	names := index.Names(p.states())
	red, damaged := names[0], names[1]
	var answer struct{}
	p.must(p.documents.DeleteIndex(t.Context(), red))
	p.ask(http.MethodPut, "/"+red+"?wait_for_active_shards=0", `{"settings":{"index.routing.allocation.require._name":"no-node"}}`, &answer)
	p.await("the red index", func() bool { state := p.states()[red]; return state.Red() })
	var some struct {
		Hits struct {
			Hits []struct {
				ID string `json:"_id"`
			}
		}
	}
	p.ask(http.MethodGet, "/"+damaged+"/_search?size=50", `{"query":{"prefix":{"id":"before-"}}}`, &some)
	lines := ""
	for _, hit := range some.Hits.Hits {
		lines += fmt.Sprintf("{\"delete\":{\"_id\":%q}}\n", hit.ID)
	}
	before := p.states()[damaged].Documents
	p.ask(http.MethodPost, "/"+damaged+"/_bulk?refresh=true", lines, &answer)
	if after := p.states()[damaged].Documents; after != before-50 {
		t.Fatalf("of %d documents %d are left", before, after)
	}
	result := p.result(p.begin(workflows.RecoverInput{}))
	if result.Complete || len(result.Restored) != 1 || result.Restored[0].Index != red || len(result.Plan.Restore) != 1 || result.Plan.Restore[0].Why != "red" {
		t.Errorf("by default it ended with %+v", result)
	}
	if listed := len(result.Missing); listed != 1 || result.Missing[0].Index != damaged {
		t.Errorf("missing are %+v", result.Missing)
	}
	result = p.result(p.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Replace: true}}))
	if !result.Complete || len(result.Restored) != 2 {
		t.Errorf("replacing it ended with %+v", result)
	}
	p.complete()
}

// TestRecoverOneIndexOfMany: what is lost beside it stays lost, what is there stays as
// it is.
func TestRecoverOneIndexOfMany(t *testing.T) {
	t.Parallel()
	p := newPipeline(t)
	p.send("before", 600, 2)
	p.indexed()
	p.snapshot()
	p.send("after", 400, 1)
	p.indexed()
	p.backUp()
	p.passed() // else the window has no object yet, and the plan says so
	names := index.Names(p.states())
	a, b := names[0], names[1]
	kept := p.states()[b]
	p.must(p.documents.DeleteIndex(t.Context(), a))
	run := p.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Indices: []string{a}}})
	result := p.result(run)
	if !result.Complete || len(result.Restored) != 1 || result.Restored[0].Index != a || result.Backfill.Records > 503 || len(result.Plan.Warnings) > 0 { // all there are of it
		t.Errorf("the result is %+v", result)
	}
	if now := p.states()[b]; now.UUID != kept.UUID || now.Documents != kept.Documents {
		t.Errorf("the other index was %+v and is %+v", kept, now)
	}
	p.complete()

	// Both are lost, and one is asked for.
	p.disaster()
	if result := p.result(p.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Indices: []string{b}}})); !result.Complete {
		t.Errorf("the result is %+v", result)
	}
	if now := p.states(); len(now) != 1 || now[b].Documents != kept.Documents {
		t.Errorf("there are %v", now)
	}
	want := 0
	for id := range p.sent {
		if record, err := telemetry.Parse(p.record(id, false)); err == nil && string(record.Index) == b {
			want++
		}
	}
	if found := p.ids(""); len(found) != want {
		t.Errorf("%d documents are back, not %d", len(found), want)
	}
	// A pattern that matches nothing is seen in the plan.
	none := workflows.RecoverInput{DryRun: true, RecoverRequest: recovery.RecoverRequest{Indices: []string{p.indices + "nothing"}}}
	if plan := p.result(p.begin(none)).Plan; len(plan.Warnings) != 1 || !strings.Contains(plan.Warnings[0], "matches") {
		t.Errorf("of a pattern that matches nothing it says %q", plan.Warnings)
	}
}
