package mutants_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"millrace/deploy/local"
	"millrace/test/mutants"
)

// A mutant that no longer fits the code would be noticed only by a run of all of
// them.
func TestEveryMutantStillCompiles(t *testing.T) {
	t.Parallel()
	root, err := local.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	all := append([]mutants.Mutant{mutants.PanicsAtBad}, mutants.All...)
	var edited []string
	for _, m := range all {
		for _, edit := range m.Edits {
			edited = append(edited, "./"+path.Dir(edit.File))
		}
	}
	checker, err := newChecker(t, root, edited)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, m := range all {
		if seen[m.Name] || m.Clause == "" || (m.Scenario == "") == (m.Test == mutants.Test{}) || len(m.Edits) == 0 {
			t.Errorf("mutant %q is there twice, or not complete", m.Name)
		}
		seen[m.Name] = true
		t.Run(m.Name, func(t *testing.T) {
			replaced, err := m.Replace(root, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			if err := checker.check(replaced); err != nil {
				t.Errorf("it does not compile: %v", err)
			}
		})
	}
	if len(mutants.All) < 6 {
		t.Errorf("%d mutants are too few", len(mutants.All))
	}
}

func TestMutantThatDoesNotCompileIsReported(t *testing.T) {
	t.Parallel()
	root, err := local.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	checker, err := newChecker(t, root, []string{"./test/mutants"})
	if err != nil {
		t.Fatal(err)
	}
	m := mutants.Mutant{Name: "unfit", Edits: []mutants.Edit{{File: "test/mutants/mutants.go", Old: "text, err := json.Marshal(", New: "text := json.Marshal("}}}
	replaced, err := m.Replace(root, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := checker.check(replaced); err == nil || !strings.Contains(err.Error(), "assignment mismatch") {
		t.Errorf("a mutant that does not compile gives %v", err)
	}
}

func TestEditThatDoesNotFitIsReported(t *testing.T) {
	t.Parallel()
	root, err := local.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{"no such text in it", "return"} {
		m := mutants.Mutant{Name: "unfit", Edits: []mutants.Edit{{File: "internal/indexing/chunk.go", Old: old}}}
		if _, err := m.Replace(root, t.TempDir()); err == nil || !strings.Contains(err.Error(), "internal/indexing/chunk.go") {
			t.Errorf("an edit of %q gives %v", old, err)
		}
	}
}

// checker finds what a compiler would refuse, in a tenth of the compiler's
// time: it checks types only, against what go build has made of the packages
// that are imported.
type checker struct {
	packages map[string]listed // by import path
	files    *token.FileSet
	importer types.Importer
}

// listed is a package, as go list describes it.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
}

func newChecker(t *testing.T, root string, packages []string) (*checker, error) {
	list := exec.CommandContext(t.Context(), "go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles"}, packages...)...)
	list.Dir, list.Stderr = root, os.Stderr
	output, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages that are edited: %w", err)
	}
	c := &checker{packages: map[string]listed{}, files: token.NewFileSet()}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("decode the list of packages: %w", err)
		}
		c.packages[p.ImportPath] = p
	}
	c.importer = importer.ForCompiler(c.files, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(c.packages[path].Export)
	})
	return c, nil
}

// check checks the packages of files that others replace.
func (c *checker) check(replaced map[string]string) error {
	checked := map[string]bool{}
	for file := range replaced {
		dir := filepath.Dir(file)
		if checked[dir] {
			continue
		}
		checked[dir] = true
		for _, p := range c.packages {
			if p.Dir != dir {
				continue
			}
			if err := c.checkPackage(p, replaced); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *checker) checkPackage(p listed, replaced map[string]string) error {
	var files []*ast.File
	for _, name := range p.GoFiles {
		name = filepath.Join(p.Dir, name)
		if mutant, ok := replaced[name]; ok {
			name = mutant
		}
		file, err := parser.ParseFile(c.files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return fmt.Errorf("parse a file: %w", err)
		}
		files = append(files, file)
	}
	config := types.Config{Importer: c.importer, Sizes: types.SizesFor("gc", runtime.GOARCH)}
	if _, err := config.Check(p.ImportPath, c.files, files, nil); err != nil {
		return fmt.Errorf("check the types of %s: %w", p.ImportPath, err)
	}
	return nil
}
