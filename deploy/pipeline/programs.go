package pipeline

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"millrace/deploy/local"
)

// Programs are the paths of Millrace's programs.
type Programs struct{ Collector, Worker, Starter string }

// Build compiles what is not current of the programs into a folder. flags go
// to go build.
func Build(ctx context.Context, root, dir string, flags ...string) (Programs, error) {
	p := Programs{
		Collector: filepath.Join(dir, "collector"),
		Worker:    filepath.Join(dir, "worker"),
		Starter:   filepath.Join(dir, "starter"),
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return p, fmt.Errorf("make the folder for programs: %w", err)
	}
	// One that builds would take a program from under one that starts it.
	return p, local.Exclusively(filepath.Join(dir, ".programs.lock"), func() error {
		for _, program := range []struct{ path, source string }{
			{p.Collector, "./api/cmd"}, {p.Worker, "./workers/cmd"}, {p.Starter, "./starter"},
		} {
			args := append([]string{"build", "-o", program.path}, flags...)
			cmd := exec.CommandContext(ctx, "go", append(args, program.source)...)
			cmd.Dir = root
			if output, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("build %s: %w\n%s", program.source, err, output)
			}
		}
		return nil
	})
}
