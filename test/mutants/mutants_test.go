package mutants_test

import (
	"os/exec"
	"path"
	"strings"
	"testing"

	"millrace/deploy/local"
	"millrace/test/mutants"
)

// A mutant that no longer fits the code would be noticed by nobody but those
// who run all of them.
func TestEveryMutantStillCompiles(t *testing.T) {
	t.Parallel()
	root, err := local.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range append([]mutants.Mutant{mutants.PanicsAtBad}, mutants.All...) {
		if seen[m.Name] || m.Clause == "" || (m.Scenario == "") == (m.Test == mutants.Test{}) || len(m.Edits) == 0 {
			t.Errorf("mutant %q is there twice, or not complete", m.Name)
		}
		seen[m.Name] = true
		t.Run(m.Name, func(t *testing.T) {
			overlay, err := m.Overlay(root, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			args := []string{"build", "-overlay", overlay}
			for _, edit := range m.Edits {
				args = append(args, "./"+path.Dir(edit.File))
			}
			build := exec.CommandContext(t.Context(), "go", args...)
			build.Dir = root
			if output, err := build.CombinedOutput(); err != nil {
				t.Errorf("it does not compile: %v\n%s", err, output)
			}
		})
	}
	if len(mutants.All) < 6 {
		t.Errorf("%d mutants are too few", len(mutants.All))
	}
}

func TestAnEditThatDoesNotFitIsReported(t *testing.T) {
	t.Parallel()
	root, err := local.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{"no such text in it", "return"} {
		m := mutants.Mutant{Name: "unfit", Edits: []mutants.Edit{{File: "activities/chunk.go", Old: old}}}
		if _, err := m.Overlay(root, t.TempDir()); err == nil || !strings.Contains(err.Error(), "activities/chunk.go") {
			t.Errorf("an edit of %q gives %v", old, err)
		}
	}
}
