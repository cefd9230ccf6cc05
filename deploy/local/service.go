package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	pollInterval = 100 * time.Millisecond
	stopGrace    = 30 * time.Second // How long a service may take to end after SIGTERM.
	logTail      = 2 << 10          // Bytes of the log that an error shows.
)

// definition says how one kind of service is installed and run.
type definition struct {
	name  string
	tools []tool
	ports []int // The usual ones, the address first; 0 has no usual one.

	// unprivileged: the server refuses to run as root.
	unprivileged bool

	// deadline bounds the time from start to healthy.
	deadline time.Duration

	// install downloads and returns the folder of the program.
	install func(context.Context, *Service) (string, error)

	// prepare readies the data folder, before every start.
	prepare func(*Service) error

	// command is the server's command line.
	command func(*Service) *exec.Cmd

	// ready returns nil when the server is healthy.
	ready func(context.Context, *Service) error

	// env is what processes that use the service are given.
	env func(*Service) []string

	// pid finds the server's process where it is a child of the one that was started.
	pid func(context.Context, *Service) (int, error)
}

// Service is one server of a stack.
type Service struct {
	definition definition
	stack      *Stack
	tools      map[tool]foundTool
	program    string // Folder of the installed program.
	data       string
	log        string
	ports      []int

	mu      sync.Mutex // Held while the service starts or stops.
	running *process
	pid     int
}

// process is one run of a server.
type process struct {
	cmd    *exec.Cmd
	ended  chan struct{}
	result error // Valid when ended is closed.

	mu       sync.Mutex
	expected bool // We asked it to end.
}

// Name is the service's name.
func (s *Service) Name() string { return s.definition.name }

// Address is host and port.
func (s *Service) Address() string { return fmt.Sprintf("127.0.0.1:%d", s.ports[0]) }

// URL is the service's HTTP address; Temporal's is that of its Web UI.
func (s *Service) URL() string {
	if s.Name() == Temporal {
		return fmt.Sprintf("http://127.0.0.1:%d", s.ports[1])
	}
	return "http://" + s.Address()
}

// MetricsURL is where Temporal serves its own metrics, for Prometheus.
func (s *Service) MetricsURL() string { return fmt.Sprintf("http://127.0.0.1:%d/metrics", s.ports[2]) }

// LogFile is the file with the server's output.
func (s *Service) LogFile() string { return s.log }

// DataDir is the folder with the server's data.
func (s *Service) DataDir() string { return s.data }

// SnapshotDir is the folder in which Elasticsearch and OpenSearch may keep repositories of type fs.
func (s *Service) SnapshotDir() string { return filepath.Join(s.data, "snapshots") }

// Pid is the server's process, or 0 when it is not running.
func (s *Service) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pid
}

// Kill ends the service as a crash does, without a chance to clean up.
func (s *Service) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return nil
	}
	s.running.end(syscall.SIGKILL)
	<-s.running.ended
	s.running, s.pid = nil, 0
	return nil
}

// Stop ends the service in order, and kills it when it does not end in time.
func (s *Service) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return nil
	}
	s.running.end(syscall.SIGTERM)
	select {
	case <-s.running.ended:
	case <-time.After(stopGrace):
		s.stack.progress.line(s.Name(), "did not stop within %v: killing it", stopGrace)
		s.running.end(syscall.SIGKILL)
		<-s.running.ended
	}
	// What the server itself started must not outlive it.
	_ = syscall.Kill(-s.running.cmd.Process.Pid, syscall.SIGKILL)
	s.running, s.pid = nil, 0
	return nil
}

// Restart starts the service again, on the same ports and data, and waits until it is healthy. A service that runs is
// stopped first.
func (s *Service) Restart(ctx context.Context) error {
	if err := s.Stop(); err != nil {
		return err
	}
	if err := s.start(ctx); err != nil {
		return err
	}
	return s.stack.writeState()
}

func (s *Service) install(ctx context.Context) (err error) {
	s.program, err = s.definition.install(ctx, s)
	return err
}

func (s *Service) start(ctx context.Context) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	begin := time.Now()
	if s.running, err = s.launch(); err != nil {
		return fmt.Errorf("start %s: %w", s.Name(), err)
	}
	defer func() {
		if err != nil {
			s.running.end(syscall.SIGKILL)
			<-s.running.ended
			s.running, s.pid = nil, 0
		}
	}()
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	s.pid = s.running.cmd.Process.Pid
	if s.definition.pid != nil {
		if s.pid, err = s.definition.pid(ctx, s); err != nil {
			return fmt.Errorf("find the process of %s: %w", s.Name(), err)
		}
	}
	s.stack.progress.line(s.Name(), "ready at %s after %.1f s", s.URL(), time.Since(begin).Seconds())
	return nil
}

func (s *Service) launch() (*process, error) {
	if err := s.makeData(); err != nil {
		return nil, err
	}
	if s.definition.prepare != nil {
		if err := s.definition.prepare(s); err != nil {
			return nil, err
		}
	}
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log file: %w", err)
	}
	defer log.Close()

	cmd := s.definition.command(s)
	cmd.Dir = s.data
	cmd.Stdout, cmd.Stderr = log, log
	var as *syscall.Credential
	if s.dropsRoot() {
		as = unprivileged()
	}
	if err := StartChild(cmd, as); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.result = cmd.Wait()
		close(p.ended)
		if !p.wasExpected() {
			s.stack.progress.line(s.Name(), "ended unexpectedly: %s; its log is %s", ending(p.result), s.log)
		}
	}()
	return p, nil
}

// dropsRoot: the server refuses root, and we are root.
func (s *Service) dropsRoot() bool { return s.definition.unprivileged && os.Geteuid() == 0 }

// makeData makes the data folder, owned by the user the server runs as.
func (s *Service) makeData() error {
	if err := os.MkdirAll(s.data, 0o755); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	return s.own(s.data)
}

// own gives files to the user the server runs as.
func (s *Service) own(paths ...string) error {
	if !s.dropsRoot() {
		return nil
	}
	user := unprivileged()
	for _, path := range paths {
		if err := os.Lchown(path, int(user.Uid), int(user.Gid)); err != nil {
			return fmt.Errorf("give a file to the server's user: %w", err)
		}
	}
	return nil
}

// awaitReady polls until the server is healthy, has ended, or is out of time.
func (s *Service) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.definition.deadline, fmt.Errorf("not healthy after %v", s.definition.deadline))
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := s.definition.ready(ctx, s)
		if err == nil {
			return nil
		}
		select {
		case <-s.running.ended:
			return s.startError(fmt.Errorf("the server ended: %s", ending(s.running.result)))
		case <-ctx.Done():
			if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
				return s.startError(fmt.Errorf("%w; last answer: %w", cause, err))
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// startError shows the end of the log with the error, where the reader looks.
func (s *Service) startError(err error) error {
	tail, readErr := readTail(s.log, logTail)
	if readErr != nil {
		tail = readErr.Error()
	}
	return fmt.Errorf("start %s: %w\nThe end of %s:\n%s", s.Name(), err, s.log, indent(tail))
}

// end signals the process. A kill goes to everything the server started.
func (p *process) end(signal syscall.Signal) {
	p.mu.Lock()
	p.expected = true
	p.mu.Unlock()
	pid := p.cmd.Process.Pid
	if signal == syscall.SIGKILL {
		pid = -pid
	}
	_ = syscall.Kill(pid, signal) // It may have ended already.
}

func (p *process) wasExpected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.expected
}

func ending(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

func readTail(path string, size int64) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open the log: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", fmt.Errorf("read the log's size: %w", err)
	}
	if info.Size() > size {
		if _, err := file.Seek(-size, io.SeekEnd); err != nil {
			return "", fmt.Errorf("seek in the log: %w", err)
		}
	}
	text, err := io.ReadAll(file)
	if err != nil {
		return "", fmt.Errorf("read the log: %w", err)
	}
	if info.Size() > size { // The first line is cut.
		if _, rest, found := bytes.Cut(text, []byte("\n")); found {
			text = rest
		}
	}
	return strings.TrimRight(string(text), "\n"), nil
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

// get asks for a page, and returns its body if the answer is 200.
func get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	return do(request)
}

// direct ignores the proxy settings, which are for the downloads.
var direct = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func do(request *http.Request) ([]byte, error) {
	response, err := direct.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the server: answered %s", response.Status)
	}
	return body, nil
}
