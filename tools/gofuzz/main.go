// Command gofuzz runs every fuzz target of the module for a while, some at the same time, and says what each has done.
// What makes one fail, go test leaves in its testdata/fuzz, where every later test run tries it.
//
// All that a target imports is compiled anew, for its coverage to be seen. So of a package's tests only those files are
// compiled that hold targets, and samples_test.go, which they may share with other tests: without this, it would be the
// clients of all servers, too.
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
	"strings"
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

// suite is the fuzz targets of one package.
type suite struct {
	pkg, dir string
	targets  []string
	omitted  []string // paths of the test files that they do without
}

// shared is the test file of a package that its fuzz targets may use.
const shared = "samples_test.go"

// fuzzing runs the targets of some suites, and keeps what they found.
type fuzzing struct {
	options
	binaries string // folder of the compiled suites
	cache    string // folder of go's fuzz corpora
	to       io.Writer

	mu    sync.Mutex
	wrong []error
}

func (o options) run(ctx context.Context, to io.Writer) error {
	suites, err := find(ctx, o.Packages)
	if err != nil {
		return err
	}
	cache, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	if err != nil {
		return fmt.Errorf("ask for go's cache: %w", err)
	}
	binaries, err := os.MkdirTemp("", "gofuzz")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(binaries) }()
	f := &fuzzing{options: o, binaries: binaries, cache: filepath.Join(strings.TrimSpace(string(cache)), "fuzz"), to: to}
	begin, targets := time.Now(), 0
	for _, s := range suites {
		targets += len(s.targets)
	}
	fmt.Fprintf(to, "fuzzing %d targets of %d packages for %v each, %d at a time\n", targets, len(suites), o.Time, o.Parallel)
	err = f.all(ctx, suites)
	fmt.Fprintf(to, "fuzzed %d targets in %.0f s, %d failed\n", targets, time.Since(begin).Seconds(), len(f.wrong))
	return errors.Join(append(f.wrong, err)...)
}

// all compiles one suite after the other, and meanwhile runs the targets of those
// that are compiled. Suites share nearly all of what is compiled for them: at the
// same time, each would compile it anew.
func (f *fuzzing) all(ctx context.Context, suites []suite) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, f.Parallel))
	for n, s := range suites {
		binary := filepath.Join(f.binaries, fmt.Sprint(n))
		overlay, err := s.overlay(binary + ".json")
		if err != nil {
			return errors.Join(err, group.Wait())
		}
		// With the race detector, it would run a tenth as often. The linters have vetted all.
		compile := exec.CommandContext(ctx, "go", "test", "-c", "-race=false", "-vet=off", "-fuzz", ".", "-overlay", overlay, "-o", binary, s.pkg)
		compile.Env = append(os.Environ(), "GOGC=400") // see local.Compiling
		if output, err := compile.CombinedOutput(); err != nil {
			fmt.Fprintf(f.to, "%s", output)
			return errors.Join(fmt.Errorf("compile the fuzz targets of %s: %w", s.pkg, err), group.Wait())
		}
		for _, name := range s.targets {
			group.Go(func() error { return f.fuzz(ctx, s, name, binary) })
		}
	}
	return group.Wait()
}

// overlay writes a file for go's -overlay that takes away what the targets do
// without. It returns its path.
func (s suite) overlay(path string) (string, error) {
	away := map[string]string{}
	for _, file := range s.omitted {
		away[file] = ""
	}
	text, err := json.Marshal(map[string]any{"Replace": away})
	if err != nil {
		return "", fmt.Errorf("write an overlay: %w", err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("write an overlay: %w", err)
	}
	return path, nil
}

// fuzz runs one target, and says what it has done. It fails only when ctx ends.
func (f *fuzzing) fuzz(ctx context.Context, s suite, name, binary string) error {
	begin := time.Now()
	output, err := f.runTarget(ctx, s, name, binary)
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		fmt.Fprintf(f.to, "%s", output)
		f.wrong = append(f.wrong, fmt.Errorf("%s of %s: %w", name, s.pkg, err))
	}
	fmt.Fprintf(f.to, "%-26s %-32s %s in %.0f s\n", name, s.pkg, executions(output), time.Since(begin).Seconds())
	return nil
}

// mostRuns is how often a target is run whose time was over a moment too late.
const mostRuns = 3

// runTarget runs one target, and again if its end came too late.
func (f *fuzzing) runTarget(ctx context.Context, s suite, name, binary string) (output []byte, err error) {
	for range mostRuns {
		cmd := exec.CommandContext(ctx, binary, "-test.run=^$", "-test.fuzz=^"+name+"$", "-test.fuzztime="+f.Time.String(),
			"-test.fuzzminimizetime="+minimizing, "-test.fuzzcachedir="+filepath.Join(f.cache, s.pkg), "-test.parallel=1", "-test.timeout=0")
		cmd.Dir = s.dir                                                       // of testdata/fuzz
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it has children of its own
		cmd.WaitDelay = time.Minute
		output, err = cmd.CombinedOutput()
		if err == nil || !overdue.Match(output) {
			break
		}
	}
	return output, err
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
	if all == nil { // less than three seconds, or a failure
		return "no count"
	}
	return string(all[len(all)-1][1]) + " executions"
}

// find lists the targets of packages.
func find(ctx context.Context, packages []string) (suites []suite, err error) {
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
		found := suite{pkg: p.ImportPath, dir: p.Dir}
		for _, file := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
			path := filepath.Join(p.Dir, file)
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("look for targets: %w", err)
			}
			targets := function.FindAllSubmatch(text, -1)
			for _, match := range targets {
				found.targets = append(found.targets, string(match[1]))
			}
			if targets == nil && file != shared {
				found.omitted = append(found.omitted, path)
			}
		}
		if len(found.targets) > 0 {
			suites = append(suites, found)
		}
	}
	if len(suites) == 0 {
		return nil, fmt.Errorf("look for targets: there is none in %v", packages)
	}
	return suites, nil
}
