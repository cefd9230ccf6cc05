// Command gotest runs go test, and shows what a person wants to see of it: a line for each package, what failed with its
// output, once a minute what is still running, and at the end a count, and what took longest. Arguments are those of go
// test, which runs packages in the order in which they are named. There is no -timeout: a package is ended when its tests
// make no progress, for as long as GOTEST_SILENCE says (default: 10m).
package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	heartbeat = time.Minute
	slow      = 20 * time.Second // is named at the end
)

// Between go test and the tests of a package stands this program again: watch LIMIT TESTS...
const watching = "watch"

func main() {
	status, err := start(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

func start(args []string) (status int, err error) {
	if len(args) < 3 || args[0] != watching {
		return run(args)
	}
	silence, err := time.ParseDuration(args[1])
	if err != nil {
		return 0, fmt.Errorf("read how long tests may be silent: %w", err)
	}
	log := filepath.Join(filepath.Dir(args[2]), "testlog.txt")
	status, err = watcher{silence: silence, dump: dumpWithin, orphans: orphansWithin, to: os.Stdout}.run(slices.Insert(args[2:], 1, "-test.testlogfile="+log))
	if err == nil && status == 0 {
		err = forgetStack(log, os.Getenv(stackVariable))
	}
	return status, err
}

// The compiler's memory is collected less often, which takes a fifth off what a new machine compiles for. Tests are not to
// notice: some measure what they use.
const compiling, fewCollections = "GOGC", "400"

// goTest is the command line of go test.
func goTest(self, silence string, args []string) ([]string, error) {
	limit := defaultSilence
	if silence != "" {
		var err error
		if limit, err = time.ParseDuration(silence); err != nil || limit <= 0 {
			return nil, fmt.Errorf("GOTEST_SILENCE=%s: not a time", silence)
		}
	}
	return append([]string{"go", "test", "-json", "-timeout", "0", "-exec", fmt.Sprintf("'%s' %s %v", self, watching, limit)}, args...), nil
}

func run(args []string) (status int, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("find this program: %w", err)
	}
	command, err := goTest(self, os.Getenv("GOTEST_SILENCE"), args)
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), compiling+"="+fewCollections)
	cmd.Stderr = os.Stderr
	output, err := cmd.StdoutPipe()
	if err != nil {
		return 0, fmt.Errorf("open a pipe: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start go test: %w", err)
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	summary := newSummary(os.Stdout, time.Now())
	readErr := summary.follow(output, tick.C)
	waitErr := cmd.Wait()
	summary.close(time.Now())
	var exit *exec.ExitError
	if waitErr != nil && !errors.As(waitErr, &exit) {
		return 0, fmt.Errorf("wait for go test: %w", waitErr)
	}
	if readErr != nil {
		return 0, readErr
	}
	return cmd.ProcessState.ExitCode(), nil
}

// event is a line of go test -json; see go doc test2json.
type event struct {
	Time       time.Time
	Action     string
	Package    string
	ImportPath string
	Test       string
	Elapsed    float64
	Output     string
}

// test names a test, or a whole package when it has no name.
type test struct{ pkg, name string }

// summary turns events into lines.
type summary struct {
	to      io.Writer
	begin   time.Time
	running map[test]time.Time
	output  map[test]*strings.Builder
	failed  []test
	why     map[test]string // what those that failed complained of
	racing  map[string]bool // packages of which the report of a data race is being read
	stuck   map[string]bool // packages that have made no progress for too long
	slow    []event         // that have ended
	passed  int
	skipped int
}

func newSummary(to io.Writer, begin time.Time) *summary {
	return &summary{to: to, begin: begin, running: map[test]time.Time{}, output: map[test]*strings.Builder{}, why: map[test]string{}, racing: map[string]bool{}, stuck: map[string]bool{}}
}

// follow handles the lines of go test until they end.
func (s *summary) follow(output io.Reader, heartbeats <-chan time.Time) error {
	lines, ended := make(chan []byte), make(chan error, 1)
	go func() {
		defer close(lines)
		reader := bufio.NewReader(output)
		for {
			line, err := reader.ReadBytes('\n')
			if len(line) > 0 {
				lines <- line
			}
			if err != nil {
				ended <- err
				return
			}
		}
	}()
	for {
		select {
		case now := <-heartbeats:
			s.beat(now)
		case line, more := <-lines:
			if !more {
				if err := <-ended; !errors.Is(err, io.EOF) {
					return fmt.Errorf("read the output of go test: %w", err)
				}
				return nil
			}
			var e event
			if err := json.Unmarshal(line, &e); err != nil { // Not every complaint of the go command is an event.
				s.printf("%s", line)
				continue
			}
			s.handle(e)
		}
	}
}

func (s *summary) handle(e event) {
	t := test{e.Package, e.Test}
	switch e.Action {
	case "start", "run", "cont":
		s.running[t] = e.Time
	case "pause":
		delete(s.running, t)
	case "build-output":
		s.printf("%s", e.Output)
	case "output":
		// A race is reported in the name of the test that spoke last, which may well pass.
		if strings.HasPrefix(e.Output, raceBegins) {
			s.racing[e.Package] = true
		}
		if s.racing[e.Package] {
			s.printf("%s", e.Output)
			s.racing[e.Package] = e.Output != raceEnds
			return
		}
		if strings.HasPrefix(e.Output, stuck) {
			s.stuck[e.Package] = true
			s.printf("%s %sRunning were %s. All goroutines:\n", e.Package, e.Output, strings.Join(s.runs(e.Package, e.Time), ", "))
			return
		}
		if s.stuck[e.Package] {
			s.printf("%s", e.Output)
			return
		}
		if s.output[t] == nil {
			s.output[t] = &strings.Builder{}
		}
		s.output[t].WriteString(e.Output)
	case "pass", "skip", "fail":
		delete(s.running, t)
		if t.name != "" && e.Elapsed >= slow.Seconds() {
			s.slow = append(s.slow, e)
		}
		s.end(t, e.Action)
		delete(s.output, t)
	}
}

func (s *summary) end(t test, how string) {
	var output string
	if s.output[t] != nil {
		output = s.output[t].String()
	}
	if t.name == "" { // The last line of a package is the one that go test shows for it.
		if how == "fail" {
			s.die(t.pkg)
			s.printf("%s", output)
			if !slices.ContainsFunc(s.failed, func(f test) bool { return f.pkg == t.pkg }) {
				s.failed = append(s.failed, t) // It did not compile, or ended outside of a test.
			}
			return
		}
		lines := strings.Split(strings.TrimRight(output, "\n"), "\n")
		s.printf("%s\n", lines[len(lines)-1])
		return
	}
	switch how {
	case "pass":
		s.passed++
	case "skip":
		s.skipped++
		s.printf("%s", output)
	default:
		s.failed = append(s.failed, t)
		s.why[t] = complaints(output)
		s.printf("%s", output)
	}
}

// What a report of the race detector begins with, after a line like its last.
const raceBegins, raceEnds = "WARNING: DATA RACE", "==================\n"

// complaint is the first line of what a test, or a helper of its own, gave to
// t.Error or t.Fatal (or t.Log).
var complaint = regexp.MustCompile(`^ {4,}\S+\.go:\d+: `)

// logged is a line of a program's log, which follows what the test said.
var logged = regexp.MustCompile(`^ {4,}time=\d{4}-`)

// complaints finds in the output of a test, most of which may be logs of
// programs, what it said itself, and of that the end.
func complaints(output string) string {
	var found strings.Builder
	inside := false
	for line := range strings.Lines(output) {
		// Further lines of a complaint are indented more.
		inside = complaint.MatchString(line) || inside && strings.HasPrefix(line, "        ") && !logged.MatchString(line)
		if inside {
			found.WriteString(line)
		}
	}
	text := found.String()
	return text[max(0, len(text)-lastComplaints):]
}

// lastComplaints bounds in bytes what is repeated of a test at the end.
const lastComplaints = 1 << 10

// lastWords bounds in bytes what is shown of a test that has not ended.
const lastWords = 16 << 10

// die shows what tests said that were running when their package's process
// ended: a panic stands there.
func (s *summary) die(pkg string) {
	var died []test
	for t := range s.running {
		if t.pkg == pkg && t.name != "" {
			died = append(died, t)
		}
	}
	slices.SortFunc(died, func(a, b test) int { return cmp.Compare(a.name, b.name) })
	for _, t := range died {
		if said := s.output[t]; said != nil {
			text := said.String()
			s.printf("%s was running, and has said:\n%s\n", t.name, text[max(0, len(text)-lastWords):])
		}
		s.failed = append(s.failed, t)
		if s.stuck[pkg] {
			s.why[t] = "    was running when nothing happened any more\n"
		}
		delete(s.running, t)
		delete(s.output, t)
	}
}

// runs names the tests that run, of one package or of all, and for how long.
func (s *summary) runs(pkg string, now time.Time) (names []string) {
	for t, since := range s.running {
		if t.name != "" && (pkg == "" || t.pkg == pkg) {
			names = append(names, fmt.Sprintf("%s %s (%.0f s)", t.pkg, t.name, now.Sub(since).Seconds()))
		}
	}
	slices.Sort(names)
	return names
}

// beat says what takes so long.
func (s *summary) beat(now time.Time) {
	what := "compiling"
	if running := s.runs("", now); len(running) > 0 {
		what = "running " + strings.Join(running, ", ")
	}
	s.printf("... %v: %d passed, %d failed, %s\n", now.Sub(s.begin).Round(time.Second), s.passed, len(s.failed), what)
}

// close repeats what failed, to save scrolling, and counts.
func (s *summary) close(now time.Time) {
	slices.SortStableFunc(s.slow, func(a, b event) int { return cmp.Compare(b.Elapsed, a.Elapsed) })
	for _, e := range s.slow {
		s.printf("slow: %.0f s %s %s\n", e.Elapsed, e.Package, e.Test)
	}
	for _, t := range s.failed {
		s.printf("FAILED %s %s\n%s", t.pkg, t.name, s.why[t])
	}
	s.printf("DONE %s", count(s.passed+s.skipped+len(s.failed), "test", "tests"))
	if s.skipped > 0 {
		s.printf(", %d skipped", s.skipped)
	}
	if len(s.failed) > 0 {
		s.printf(", %s", count(len(s.failed), "failure", "failures"))
	}
	s.printf(" in %.1fs\n", now.Sub(s.begin).Seconds())
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (s *summary) printf(format string, args ...any) { fmt.Fprintf(s.to, format, args...) }
