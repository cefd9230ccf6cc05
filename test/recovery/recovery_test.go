package recovery

import (
	"testing"

	"millrace/workflows"
)

func TestEverythingComesBack(t *testing.T) {
	w := newWorld(t)
	w.send("before", 2000, 3)
	w.indexed()
	w.snapshot()
	w.send("after", 1500, 2)
	w.indexed()
	w.disaster()
	w.send("during", 500, 0)
	run := w.begin(workflows.RecoverInput{})
	w.await("the backup to be waited for", func() bool {
		progress, err := w.launcher.RecoverProgress(t.Context(), workflows.RecoverID)
		return err == nil && (progress.Stage == workflows.StageAwait || progress.Stage == workflows.StageVerify)
	})
	w.backUp()
	result := w.result(run)
	if !result.Complete || !result.Verified || len(result.Missing) > 0 || len(result.Restored) != 2 {
		t.Errorf("the result is %+v", result)
	}
	w.indexed()
	w.complete()
	w.keep(run, "recover_complete")

	// What was indexed before the recovery is not remembered as indexed.
	w.disaster()
	w.send("before", 2000, 3)
	w.await("what was sent again to be indexed", func() bool { return len(w.ids("")) == 2000 })
}
