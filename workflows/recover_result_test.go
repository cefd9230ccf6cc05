package workflows

import (
	"strings"
	"testing"

	"millrace/activities/recovery"
)

// TestGoingOnDependsOnWhatWasBegun: what stands in the way of another recovery
// with the same input is said.
func TestGoingOnDependsOnWhatWasBegun(t *testing.T) {
	t.Parallel()
	restoring := recovery.Plan{Restore: []recovery.IndexPlan{{Name: "telemetry-a"}}}
	for name, c := range map[string]struct {
		stage, into string
		replace     bool
		plan        recovery.Plan
		want        string
	}{
		"nothing was done":           {StageSetup, "copy", false, restoring, "with the same input"},
		"a restore":                  {StageRestore, "", false, restoring, "with the same input: nothing is restored"},
		"copies were restored":       {StageBackfill, "copy", false, restoring, "delete the copies *-copy first"},
		"copies of the backup":       {StageBackfill, "copy", false, recovery.Plan{}, "with the same input"},
		"some were replaced":         {StageRestore, "", true, restoring, "with the same input: what was replaced already is replaced once more"},
		"all were replaced":          {StageVerify, "", true, restoring, "without replace"},
		"nothing was to be replaced": {StageVerify, "", true, recovery.Plan{}, "with the same input"},
	} {
		r := &recovering{RecoverState: &RecoverState{Stage: c.stage, Plan: c.plan}}
		r.in.Into, r.in.Replace = c.into, c.replace
		if got := r.goOn(); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestWhatIsMissingIsNotComplete: whatever it is, progress and result say so.
func TestWhatIsMissingIsNotComplete(t *testing.T) {
	t.Parallel()
	gap := []recovery.Gap{{Records: 1}}
	for name, state := range map[string]RecoverState{
		"a gap of the backup":      {Gaps: gap},
		"a restored index":         {Restore: recovery.RestoreProgress{Restored: []recovery.Restored{{Documents: 1, Wanted: 2}}}},
		"a kept index":             {Plan: recovery.Plan{Fewer: []recovery.Restored{{Documents: 1, Wanted: 2}}}},
		"an object, backfilling":   {Backfill: Sweep{Missing: gap}},
		"a record, when verifying": {Verify: Sweep{Missing: gap}},
		"":                         {},
	} {
		state.Stage, state.Verified = StageDone, true
		r := &recovering{RecoverState: &state}
		missing, outcome := len(r.missing()), r.progress().outcome()
		if missing != min(1, len(name)) || strings.HasPrefix(outcome, "complete") != (name == "") {
			t.Errorf("%s: %d are missing, %s", name, missing, outcome)
		}
	}
}
