// Package mutants breaks the pipeline's own code, in copies that only the
// compiler sees (go build -overlay): a test of conservation that does not
// notice them proves nothing.
package mutants

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"millrace/deploy/pipeline"
)

// Mutant is a mistake that an engineer could make.
type Mutant struct {
	Name   string
	Clause string // of conservation, that it breaks
	// Scenario that must notice it, or a test: where the mistake shows only if
	// a process is killed at one moment, or where a narrow test is enough.
	Scenario string
	Test     Test
	Edits    []Edit
}

// Test is one of a package of the module. It may use the servers of the stack,
// but for OpenSearch, which does not run beside the scenarios.
type Test struct{ Package, Name string }

// Edit replaces a text that is in a file exactly once.
type Edit struct{ File, Old, New string }

// Build compiles the programs with the mistake in them.
func (m Mutant) Build(ctx context.Context, root, dir string) (pipeline.Programs, error) {
	overlay, err := m.Overlay(root, dir)
	if err != nil {
		return pipeline.Programs{}, err
	}
	return pipeline.Build(ctx, root, dir, "-overlay", overlay)
}

// Notice runs the test that must notice the mistake, and returns what it found
// wrong. env leads the test to servers.
func (m Mutant) Notice(ctx context.Context, root, dir string, env []string) (found string, err error) {
	overlay, err := m.Overlay(root, dir)
	if err != nil {
		return "", err
	}
	output, err := m.Test.run(ctx, root, env, "-count=1", "-overlay", overlay)
	if err == nil {
		return "", fmt.Errorf("%s of %s passes", m.Test.Name, m.Test.Package)
	}
	_, findings, failed := strings.Cut(output, "--- FAIL: "+m.Test.Name)
	if !failed { // it did not compile, or ran into something else
		return "", err
	}
	// A test that fails without the mistake, too, has not noticed it.
	if _, err := m.Test.run(ctx, root, env); err != nil {
		return "", fmt.Errorf("without the mistake: %w", err)
	}
	lines := strings.SplitN(findings, "\n", 4)
	return "--- FAIL: " + m.Test.Name + strings.Join(lines[:min(3, len(lines))], "\n"), nil
}

func (t Test) run(ctx context.Context, root string, env []string, flags ...string) (output string, err error) {
	test := exec.CommandContext(ctx, "go", slices.Concat([]string{"test", "-vet=off", "-run", "^" + t.Name + "$"}, flags, []string{t.Package})...)
	test.Dir, test.Env = root, append(os.Environ(), env...)
	text, err := test.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("run %s of %s: %w: %s", t.Name, t.Package, err, text)
	}
	return string(text), err
}

// Overlay writes what go build -overlay wants, and returns its path.
func (m Mutant) Overlay(root, dir string) (path string, err error) {
	replaced, err := m.Replace(root, dir)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		return "", fmt.Errorf("encode the overlay: %w", err)
	}
	path = filepath.Join(dir, m.Name+".json")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return "", fmt.Errorf("write the overlay: %w", err)
	}
	return path, nil
}

// Replace writes the files that the mutant changes into dir, and returns where
// each stands, by the path of the one that it replaces.
func (m Mutant) Replace(root, dir string) (replaced map[string]string, err error) {
	replaced = map[string]string{}
	for i, edit := range m.Edits {
		file := filepath.Join(root, filepath.FromSlash(edit.File))
		from := file
		if earlier, again := replaced[file]; again {
			from = earlier
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return nil, fmt.Errorf("read what %s changes: %w", m.Name, err)
		}
		if n := bytes.Count(text, []byte(edit.Old)); n != 1 {
			return nil, fmt.Errorf("apply %s: %s has what it replaces %d times, not once: adapt package mutants to the code:\n%s", m.Name, edit.File, n, edit.Old)
		}
		replaced[file] = filepath.Join(dir, fmt.Sprintf("%s-%d.go", m.Name, i))
		if err := os.WriteFile(replaced[file], bytes.Replace(text, []byte(edit.Old), []byte(edit.New), 1), 0o644); err != nil {
			return nil, fmt.Errorf("write the mutant: %w", err)
		}
	}
	return replaced, nil
}
