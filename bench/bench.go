package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
)

// bench is what runs.
type bench struct {
	options
	stack    *local.Stack
	programs pipeline.Programs
	bareloop string // path of the program
	replay   string // path of the program
	store    string // path of the program
	floor    string // path of the program
	figures  figures
}

func run(ctx context.Context, o options) (err error) {
	b := &bench{options: o}
	defer func() {
		if b.stack != nil {
			err = errors.Join(err, b.stack.Stop())
		}
	}()
	if err := b.start(ctx); err != nil {
		return err
	}
	for _, part := range []struct {
		name    string
		measure func(context.Context) error
	}{
		{"allocations", b.allocations}, {"index", b.index}, {"recover", b.recover}, {"backup", b.backup}, {"density", b.density},
		{"ingest", b.ingest}, {"delay", b.delay}, {"logsdb", b.logsDB}, {"tracing", b.tracing}, {"simulation", b.simulation},
	} {
		if !b.measures(part.name) {
			continue
		}
		if err := part.measure(ctx); err != nil {
			return fmt.Errorf("measure %s: %w", part.name, err)
		}
	}
	if err := b.servers(); err != nil {
		return err
	}
	b.figures.table(os.Stdout, fmt.Sprintf("%d processors, %s, servers and programs on one machine", runtime.NumCPU(), runtime.Version()))
	return b.figures.json(os.Stdout)
}

// say prints a line of what happens.
func say(about, format string, args ...any) {
	fmt.Printf("%-14s %s\n", about, fmt.Sprintf(format, args...))
}

// start brings up the servers, and builds what is measured.
func (b *bench) start(ctx context.Context) error {
	root, err := local.FindRoot(".")
	if err != nil {
		return err
	}
	b.stack, b.programs, err = pipeline.StartServers(ctx, local.Options{Root: root, Progress: os.Stdout})
	if err != nil {
		return err
	}
	dir := filepath.Join(root, ".local", "bin")
	b.bareloop, b.replay, b.store, b.floor = filepath.Join(dir, "bareloop"), filepath.Join(dir, "replay"), filepath.Join(dir, "store"), filepath.Join(dir, "floor")
	for path, source := range map[string]string{b.bareloop: "./bench/bareloop", b.replay: "./bench/replay/cmd", b.store: "./bench/store/cmd", b.floor: "./bench/floor"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", path, source)
		cmd.Dir = root
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", source, err, output)
		}
	}
	return b.pipeline().Setup(ctx)
}

// pipeline makes a pipeline on the servers.
func (b *bench) pipeline() *pipeline.Pipeline {
	return pipeline.New(pipeline.Settings{Programs: b.programs, Servers: b.stack.Env(), Dir: b.stack.LogDir()})
}

// servers reports what the servers took in all.
func (b *bench) servers() error {
	for _, service := range b.stack.Services() {
		peak, err := pipeline.PeakMemory(service.Pid())
		if err != nil {
			return err
		}
		b.figures.add(service.Name()+"_peak_mib", mebibytes(peak), "most memory resident, of everything that was measured")
	}
	return nil
}

// times is what processes have used of the processors.
type times map[string]time.Duration

// times reads those of the servers, and of some processes more.
func (b *bench) times(more ...*pipeline.Process) (times, error) {
	t := times{}
	for _, service := range b.stack.Services() {
		cpu, err := pipeline.CPUTime(service.Pid())
		if err != nil {
			return nil, err
		}
		t[service.Name()] = cpu
	}
	for _, process := range more {
		cpu, err := pipeline.CPUTime(process.Pid())
		if err != nil {
			return nil, err
		}
		t[process.Name] = cpu
	}
	return t, nil
}

// since returns what was used since earlier times.
func (t times) since(earlier times) times {
	used := times{}
	for name, cpu := range t {
		used[name] = cpu - earlier[name]
	}
	return used
}

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
