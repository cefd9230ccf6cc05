package local

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Program is one to build: the path of its file, and the package that it is made of.
type Program struct{ Path, Source string }

// Compiling is the environment of a go command that compiles. The compiler collects its memory less often, which takes a
// fifth off what a new machine computes.
func Compiling() []string { return append(os.Environ(), "GOGC=400") }

// Build compiles those of a clone's programs that are not current, which lie in one folder. flags go to go build. A commit
// alone changes no program: they do not say of which commit they are.
func Build(ctx context.Context, root string, programs []Program, flags ...string) error {
	// One that builds would take a program from under one that starts it.
	lock := filepath.Join(filepath.Dir(programs[0].Path), ".programs.lock")
	if err := os.MkdirAll(filepath.Dir(lock), 0o755); err != nil {
		return fmt.Errorf("make the folder for programs: %w", err)
	}
	return exclusively(lock, func() error {
		for _, program := range programs {
			if err := compile(ctx, root, program, flags...); err != nil {
				return err
			}
		}
		return nil
	})
}

// BuildTool compiles a program of others, if it is not current, that has a module of its own in a folder. flags go to go
// build. It never has the race detector.
func BuildTool(ctx context.Context, module string, tool Program, flags ...string) error {
	if err := os.MkdirAll(filepath.Dir(tool.Path), 0o755); err != nil {
		return fmt.Errorf("make the folder for a tool: %w", err)
	}
	return exclusively(tool.Path+".lock", func() error { return compile(ctx, module, tool, append([]string{"-race=false"}, flags...)...) })
}

// Quickly are flags for tools that run for a minute: without inlining and debug information, compiling one takes three
// fifths of the time. The standard library stays as other tools have it compiled.
func Quickly() []string {
	flags := []string{"-ldflags=-s -w"}
	for _, host := range []string{"github.com", "k8s.io", "google.golang.org", "golang.org", "go.opentelemetry.io", "cloud.google.com"} {
		flags = append(flags, "-gcflags="+host+"/...=-l -dwarf=false")
	}
	return flags
}

// compile compiles a program for a test that depends on it.
func compile(ctx context.Context, module string, program Program, flags ...string) error {
	err := keepTime(program.Path, func() error {
		args := append([]string{"build", "-buildvcs=false", "-o", program.Path}, flags...)
		cmd := exec.CommandContext(ctx, "go", append(args, program.Source)...)
		cmd.Dir, cmd.Env = module, Compiling()
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", program.Source, err, output)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return Reads(program.Path)
}

// keepTime gives a file back the time that it had if it is made anew and is the same. Go touches each program that it
// builds, and takes a test's result from its cache only if the times of what it has read are the same.
func keepTime(path string, build func() error) error {
	old, statErr := os.Stat(path)
	before, beforeErr := sum(path)
	if err := build(); err != nil || statErr != nil || beforeErr != nil {
		return err
	}
	if after, err := sum(path); err != nil || after != before {
		return err
	}
	if err := os.Chtimes(path, time.Time{}, old.ModTime()); err != nil {
		return fmt.Errorf("set the time of a program: %w", err)
	}
	return nil
}

// sum is the checksum of a file.
func sum(path string) (sum [sha256.Size]byte, err error) {
	file, err := os.Open(path)
	if err != nil {
		return sum, fmt.Errorf("open a program: %w", err)
	}
	defer func() { _ = file.Close() }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return sum, fmt.Errorf("read a program: %w", err)
	}
	return [sha256.Size]byte(hash.Sum(nil)), nil
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
