package e2e

import (
	_ "embed"
	"path/filepath"
	"testing"

	"millrace/deploy/local"
	"millrace/deploy/local/localtest"
	"millrace/test/kit/browser"
	"millrace/workflows"
)

//go:embed ui.mjs
var inTheUI []byte

// TestOperatorWorksInTemporalsUI pauses a shard in a real browser, finds it by a saved view,
// resumes it, and starts Recover with {}. The pictures lie below .local/shots.
func TestOperatorWorksInTemporalsUI(t *testing.T) {
	t.Parallel()
	chromium := browser.ForTest(t)
	repository := localtest.Name(t, "ui")
	s := start(t, nil, "MILLRACE_SNAPSHOT_REPOSITORY="+repository)
	s.makeRepository(repository)
	s.must(s.StartBackup(t.Context()))
	s.postEvents(0)
	s.awaitDocuments(some)

	root, err := local.FindRoot(".")
	s.must(err)
	inTheBrowser := func(env ...string) {
		s.must(chromium.Run(t.Context(), browser.Script{
			Name: "ui.mjs", Text: inTheUI, Shots: filepath.Join(root, ".local", "shots"),
			Env: append(env, "UI="+localtest.TemporalUI(t)+"/namespaces/"+s.temporal.Namespace),
		}))
	}
	inTheBrowser("SHARD=" + s.running("ProcessShard")[0])
	s.postEvents(some)
	s.awaitDocuments(2 * some)
	var result struct{ Complete, Verified bool }
	s.must(s.operator.GetWorkflow(t.Context(), workflows.RecoverID, "").Get(t.Context(), &result))
	if !result.Complete || !result.Verified {
		t.Errorf("the recovery ends with %+v", result)
	}
	inTheBrowser("RECOVERED=yes")
	_, err = s.Starter(t.Context(), "backup", "stop")
	s.must(err)
}
