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
func (w *world) failsWith(run client.WorkflowRun, text string) {
	w.t.Helper()
	err := run.Get(w.t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), text) {
		w.t.Errorf("it ended with %v, want %q", err, text)
	}
	w.await("the shards to go on", w.running)
}

// TestRepositoryUnreachable: the recovery says so and changes nothing, and once
// the repository is mended another one brings all back.
func TestRepositoryUnreachable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("before", 400, 1)
	w.indexed()
	w.snapshot()
	w.send("after", 300, 0)
	w.indexed()
	w.backUp()
	left := ""
	for name := range w.states() { // one index is lost, the other is there
		if left != "" {
			w.must(w.documents.DeleteIndex(t.Context(), name))
			continue
		}
		left = name
	}
	there := w.states()[left]
	// All that Elasticsearch has cached of it, too, is read anew.
	folder := filepath.Join(localtest.SnapshotDir(t, local.Elasticsearch), w.repo)
	w.must(os.Chmod(folder, 0))
	t.Cleanup(func() { _ = os.Chmod(folder, 0o755) })
	run := w.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Replace: true}})
	w.failsWith(run, "snapshot snap in repository "+w.repo+" cannot be read, nothing was changed")
	if now := w.states(); len(now) != 1 || now[left].UUID != there.UUID || len(w.papers()) > 0 {
		t.Errorf("it has left %v, and written %q", now, w.papers())
	}
	w.keep(run, "recover_unreachable")
	w.must(os.Chmod(folder, 0o755))
	if result := w.result(w.begin(workflows.RecoverInput{})); !result.Complete || len(result.Restored) != 1 {
		t.Errorf("the result is %+v", result)
	}
	w.complete()
}

// TestRepositoryLostDuringTheRestore: the shards do not stand still for it for
// ever.
func TestRepositoryLostDuringTheRestore(t *testing.T) {
	t.Parallel()
	proxy, err := faultproxy.Start(t.Context(), localtest.Elasticsearch(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	w := newWorldAt(t, proxy.URL())
	w.send("before", 400, 1)
	w.indexed()
	w.snapshot()
	w.backUp()
	w.disaster()
	proxy.Set(faultproxy.Rule{Name: "no restore", Method: http.MethodPost, Path: "/_snapshot/" + w.repo, Fault: faultproxy.Answer{
		Status: http.StatusInternalServerError, Header: http.Header{"Content-Type": {"application/json"}, "X-Elastic-Product": {"Elasticsearch"}},
		Body: `{"error":{"type":"repository_exception","reason":"connect timed out"},"status":500}`,
	}})
	run := w.begin(workflows.RecoverInput{})
	w.await("the pause", func() bool { return !w.running() })
	w.failsWith(run, "cannot be read, the restore was given up: status 500: repository_exception: connect timed out")
	if len(proxy.Log()) < 2 {
		t.Errorf("it was tried %d times", len(proxy.Log()))
	}
	proxy.Set()
	if result := w.result(w.begin(workflows.RecoverInput{})); !result.Complete || len(result.Restored) != 2 {
		t.Errorf("the result is %+v", result)
	}
	w.indexed()
	w.complete()
}

// TestRedAndReplacedIndices: one index has lost its shards, which is repaired by
// default, and another has lost documents, which is repaired when that is asked for.
func TestRedAndReplacedIndices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("before", 600, 2)
	w.indexed()
	w.passed()
	w.snapshot()
	w.send("after", 20, 1)
	w.indexed()
	w.backUp()
	names := index.Names(w.states())
	red, damaged := names[0], names[1]
	var answer struct{}
	w.must(w.documents.DeleteIndex(t.Context(), red))
	w.ask(http.MethodPut, "/"+red+"?wait_for_active_shards=0", `{"settings":{"index.routing.allocation.require._name":"nobody"}}`, &answer)
	w.await("the red index", func() bool { state := w.states()[red]; return state.Red() })
	var some struct {
		Hits struct {
			Hits []struct {
				ID string `json:"_id"`
			}
		}
	}
	w.ask(http.MethodGet, "/"+damaged+"/_search?size=50", `{"query":{"prefix":{"id":"before-"}}}`, &some)
	lines := ""
	for _, hit := range some.Hits.Hits {
		lines += fmt.Sprintf("{\"delete\":{\"_id\":%q}}\n", hit.ID)
	}
	before := w.states()[damaged].Documents
	w.ask(http.MethodPost, "/"+damaged+"/_bulk?refresh=true", lines, &answer)
	if after := w.states()[damaged].Documents; after != before-50 {
		t.Fatalf("of %d documents %d are left", before, after)
	}
	result := w.result(w.begin(workflows.RecoverInput{}))
	if result.Complete || len(result.Restored) != 1 || result.Restored[0].Index != red || len(result.Plan.Restore) != 1 || result.Plan.Restore[0].Why != "red" {
		t.Errorf("by default it ended with %+v", result)
	}
	if listed := len(result.Missing); listed != 1 || result.Missing[0].Index != damaged {
		t.Errorf("missing are %+v", result.Missing)
	}
	result = w.result(w.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Replace: true}}))
	if !result.Complete || len(result.Restored) != 2 {
		t.Errorf("replacing it ended with %+v", result)
	}
	w.complete()
}

// TestOneIndexOfMany: what is lost beside it stays lost, what is there stays as
// it is.
func TestOneIndexOfMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.send("before", 600, 2)
	w.indexed()
	w.snapshot()
	w.send("after", 400, 1)
	w.indexed()
	w.backUp()
	names := index.Names(w.states())
	a, b := names[0], names[1]
	kept := w.states()[b]
	w.must(w.documents.DeleteIndex(t.Context(), a))
	run := w.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Indices: []string{a}}})
	result := w.result(run)
	if !result.Complete || len(result.Restored) != 1 || result.Restored[0].Index != a || result.Backfill.Records > 503 || len(result.Plan.Warnings) > 0 { // all there are of it
		t.Errorf("the result is %+v", result)
	}
	if now := w.states()[b]; now.UUID != kept.UUID || now.Documents != kept.Documents {
		t.Errorf("the other index was %+v and is %+v", kept, now)
	}
	w.complete()

	// Both are lost, and one is asked for.
	w.disaster()
	if result := w.result(w.begin(workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{Indices: []string{b}}})); !result.Complete {
		t.Errorf("the result is %+v", result)
	}
	if now := w.states(); len(now) != 1 || now[b].Documents != kept.Documents {
		t.Errorf("there are %v", now)
	}
	want := 0
	for id := range w.sent {
		if record, err := telemetry.Parse(w.record(id, false)); err == nil && string(record.Index) == b {
			want++
		}
	}
	if found := w.ids(""); len(found) != want {
		t.Errorf("%d documents are back, not %d", len(found), want)
	}
	// A pattern that matches nothing is seen in the plan.
	none := workflows.RecoverInput{DryRun: true, RecoverRequest: recovery.RecoverRequest{Indices: []string{w.indices + "nothing"}}}
	if plan := w.result(w.begin(none)).Plan; len(plan.Warnings) != 1 || !strings.Contains(plan.Warnings[0], "matches") {
		t.Errorf("of a pattern that matches nothing it says %q", plan.Warnings)
	}
}
