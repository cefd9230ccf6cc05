package recovery

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.temporal.io/sdk/client"

	"millrace/activities"
	"millrace/deploy/local"
	"millrace/deploy/local/localtest"
	"millrace/internal/index"
	"millrace/internal/telemetry"
	"millrace/test/faultproxy"
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
	run := w.begin(workflows.RecoverInput{RecoverRequest: activities.RecoverRequest{Replace: true}})
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
	run := w.begin(workflows.RecoverInput{RecoverRequest: activities.RecoverRequest{Indices: []string{a}}})
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
	if result := w.result(w.begin(workflows.RecoverInput{RecoverRequest: activities.RecoverRequest{Indices: []string{b}}})); !result.Complete {
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
	none := workflows.RecoverInput{DryRun: true, RecoverRequest: activities.RecoverRequest{Indices: []string{w.indices + "nothing"}}}
	if plan := w.result(w.begin(none)).Plan; len(plan.Warnings) != 1 || !strings.Contains(plan.Warnings[0], "matches") {
		t.Errorf("of a pattern that matches nothing it says %q", plan.Warnings)
	}
}
