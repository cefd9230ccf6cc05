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
	"path/filepath"

	"millrace/deploy/pipeline"
)

// Mutant is a mistake that somebody could make.
type Mutant struct {
	Name   string
	Clause string // of conservation, that it breaks
	// Scenario that must notice it.
	Scenario string
	Edits    []Edit
}

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

// Overlay writes what go build -overlay wants, and returns its path.
func (m Mutant) Overlay(root, dir string) (path string, err error) {
	replaced := map[string]string{}
	for i, edit := range m.Edits {
		file := filepath.Join(root, filepath.FromSlash(edit.File))
		from := file
		if earlier, again := replaced[file]; again {
			from = earlier
		}
		text, err := os.ReadFile(from)
		if err != nil {
			return "", fmt.Errorf("read what %s changes: %w", m.Name, err)
		}
		if n := bytes.Count(text, []byte(edit.Old)); n != 1 {
			return "", fmt.Errorf("apply %s: %s has what it replaces %d times, not once: adapt package mutants to the code:\n%s", m.Name, edit.File, n, edit.Old)
		}
		replaced[file] = filepath.Join(dir, fmt.Sprintf("%s-%d.go", m.Name, i))
		if err := os.WriteFile(replaced[file], bytes.Replace(text, []byte(edit.Old), []byte(edit.New), 1), 0o644); err != nil {
			return "", fmt.Errorf("write the mutant: %w", err)
		}
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
