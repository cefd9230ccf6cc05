package local

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Program is one to build: the path of its file, and the package that it is made of.
type Program struct{ Path, Source string }

// Compiling is the environment of a go command that compiles. The compiler collects its memory less often, which takes a
// fifth off what a new machine computes.
func Compiling() []string { return append(os.Environ(), "GOGC=400") }

// Build compiles those of a clone's programs that are not current, which lie in one folder. flags go to go build. A commit
// alone changes no program: they do not say of which commit they are.
func Build(ctx context.Context, root string, programs []Program, flags ...string) error {
	dir := filepath.Dir(programs[0].Path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder for programs: %w", err)
	}
	// One that builds would take a program from under one that starts it.
	return Exclusively(filepath.Join(dir, ".programs.lock"), func() error {
		for _, program := range programs {
			args := append([]string{"build", "-buildvcs=false", "-o", program.Path}, flags...)
			cmd := exec.CommandContext(ctx, "go", append(args, program.Source)...)
			cmd.Dir, cmd.Env = root, Compiling()
			if output, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("build %s: %w\n%s", program.Source, err, output)
			}
			if err := Reads(program.Path); err != nil {
				return err
			}
		}
		return nil
	})
}

// Reads notes that the calling test depends on files that only other programs read. The go command takes a result from its
// cache while all is the same that the test has read itself; it heeds files of the module alone.
func Reads(paths ...string) error {
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return fmt.Errorf("open what a program reads: %w", err)
		}
		_ = file.Close()
	}
	return nil
}
