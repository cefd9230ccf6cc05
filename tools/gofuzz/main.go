// Command gofuzz runs every fuzz target of the module for a while, some at the same time, and says what each has done.
// What makes one fail, go test leaves in its testdata/fuzz, where every later test run tries it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sync/errgroup"
)

type options struct {
	Time     time.Duration `help:"How long each target runs." default:"20s"`
	Parallel int           `help:"How many run at the same time, each on one processor." default:"2"`
	Packages []string      `arg:"" optional:"" help:"Packages to look into." default:"./..."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("gofuzz"), kong.Description("Runs every fuzz target for a while."))
	if err := o.run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// target is one fuzz function.
type target struct{ pkg, name string }

func (o options) run(ctx context.Context, to io.Writer) error {
	targets, err := find(ctx, o.Packages)
	if err != nil {
		return err
	}
	begin := time.Now()
	fmt.Fprintf(to, "fuzzing %d targets for %v each, %d at a time\n", len(targets), o.Time, o.Parallel)
	var mu sync.Mutex
	var wrong []error
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, o.Parallel))
	for _, t := range targets {
		group.Go(func() error {
			begin := time.Now()
			output, err := o.fuzz(ctx, t)
			mu.Lock()
			defer mu.Unlock()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				fmt.Fprintf(to, "%s", output)
				wrong = append(wrong, fmt.Errorf("%s of %s: %w", t.name, t.pkg, err))
			}
			fmt.Fprintf(to, "%-26s %-32s %s in %.0f s\n", t.name, t.pkg, executions(output), time.Since(begin).Seconds())
			return nil
		})
	}
	err = group.Wait()
	fmt.Fprintf(to, "fuzzed %d targets in %.0f s, %d failed\n", len(targets), time.Since(begin).Seconds(), len(wrong))
	return errors.Join(append(wrong, err)...)
}

// mostRuns is how often a target is run whose time was over a moment too late.
const mostRuns = 3

// fuzz runs one target.
func (o options) fuzz(ctx context.Context, t target) (output []byte, err error) {
	for range mostRuns {
		output, err = o.fuzzOnce(ctx, t)
		if err == nil || !overdue.Match(output) {
			break
		}
	}
	return output, err
}

func (o options) fuzzOnce(ctx context.Context, t target) (output []byte, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-fuzz", "^"+t.name+"$", "-fuzztime", o.Time.String(),
		"-fuzzminimizetime", minimizing, "-parallel", "1", t.pkg)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it has children of its own
	cmd.WaitDelay = time.Minute
	return cmd.CombinedOutput()
}

// minimizing is how long one input is made smaller. Go's minute would be all
// the time that a target has, for the first input that is worth keeping.
const minimizing = "1s"

// overdue is how go test fails when the end of -fuzztime is noticed before it
// has spread to its workers (internal/fuzz compares an error with that of
// a context derived from the one that ended; golang.org/issue/48591). It may
// have found something at that moment, in testdata/fuzz then, with which the
// next run begins: so the run is repeated, not forgiven.
var overdue = regexp.MustCompile(`(?m)^--- FAIL: \w+ \([0-9.]+s\)\n +context deadline exceeded$`)

var (
	function = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
	count    = regexp.MustCompile(`execs: (\d+)`)
)

// executions is how often a target was called, from the last line that says so.
func executions(output []byte) string {
	all := count.FindAllSubmatch(output, -1)
	if all == nil {
		return "failed"
	}
	return string(all[len(all)-1][1]) + " executions"
}

// find lists the targets of packages.
func find(ctx context.Context, packages []string) (targets []target, err error) {
	output, err := exec.CommandContext(ctx, "go", slices.Concat([]string{"list", "-json=Dir,ImportPath,TestGoFiles,XTestGoFiles"}, packages)...).Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p struct {
			Dir, ImportPath           string
			TestGoFiles, XTestGoFiles []string
		}
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("list packages: %w", err)
		}
		for _, file := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
			text, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				return nil, fmt.Errorf("look for targets: %w", err)
			}
			for _, match := range function.FindAllSubmatch(text, -1) {
				targets = append(targets, target{p.ImportPath, string(match[1])})
			}
		}
	}
	if len(targets) == 0 {
		return nil, fmt.Errorf("look for targets: there is none in %v", packages)
	}
	return targets, nil
}
