package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"

	"millrace/deploy/local"
)

// stopGrace is how long a process may take to end after SIGTERM.
const stopGrace = 40 * time.Second

// Process is one run of a program, with its output in a file. It dies with
// this process, however that ends.
type Process struct {
	Name string
	Log  string // path

	cmd    *exec.Cmd
	ended  chan struct{}
	result error // valid when ended is closed
}

// Command says what to run.
type Command struct {
	Name    string // for messages
	Program string
	Args    []string
	Env     []string // KEY=VALUE; nil: this process's own
	Log     string   // file that gets the output, behind what it holds
}

// Start runs a program.
func Start(c Command) (*Process, error) {
	log, err := os.OpenFile(c.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", c.Name, err)
	}
	defer log.Close()
	p := &Process{Name: c.Name, Log: c.Log, cmd: exec.Command(c.Program, c.Args...), ended: make(chan struct{})}
	p.cmd.Env = c.Env
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := local.StartChild(p.cmd, nil); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	go func() {
		p.result = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Stop asks the process to end, waits for it, and kills it when it takes too
// long. The error says how it ended if not with status 0. A process that has
// ended before is left alone.
func (p *Process) Stop() error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // It may end at this moment.
	select {
	case <-p.ended:
	case <-time.After(stopGrace):
		p.Kill()
		return fmt.Errorf("%s did not end within %v and was killed; its log is %s", p.Name, stopGrace, p.Log)
	}
	if p.result != nil {
		return fmt.Errorf("%s ended with %w; its log is %s", p.Name, p.result, p.Log)
	}
	return nil
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.Name, err)
	}
	return nil
}

// Kill ends the process as kill -9 does, and waits until it has gone.
func (p *Process) Kill() {
	_ = syscall.Kill(-p.Pid(), syscall.SIGKILL) // It may have ended already.
	<-p.ended
}

// CPU returns what an ended process took of the processors; zero before. What
// it had in memory must be asked while it runs: see PeakMemory. The kernel's
// account of an ended process (ru_maxrss) begins with what its parent had.
func (p *Process) CPU() time.Duration {
	state := p.cmd.ProcessState
	if state == nil {
		return 0
	}
	return state.UserTime() + state.SystemTime()
}

// Wait waits until the process ends.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.ended:
		if p.result != nil {
			return fmt.Errorf("%s ended with %w; its log is %s", p.Name, p.result, p.Log)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", p.Name, context.Cause(ctx))
	}
}

// readyInterval lies between two looks at a process that starts.
const readyInterval = 50 * time.Millisecond

// AwaitReady waits until the process answers url with 200.
func (p *Process) AwaitReady(ctx context.Context, url string) error {
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	var last error
	for {
		if last = ask(ctx, url); last == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended before it was ready: %w; the end of %s:\n%s", p.Name, errOr(p.result), p.Log, tail(p.Log))
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; the end of %s:\n%s", p.Name, last, p.Log, tail(p.Log))
		case <-tick.C:
		}
	}
}

func errOr(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

func ask(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("make a request: %w", err)
	}
	response, err := local.Client.Do(request)
	if err != nil {
		return fmt.Errorf("ask whether it is ready: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, response.Status)
	}
	return nil
}

// tail returns the end of a file.
func tail(path string) string {
	const size = 2 << 10
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-size):])
}
