package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// defaultSilence is how long the tests of a package may go without one of
	// them beginning, ending or logging. The time that a test takes says how slow
	// the machine is; only one that makes no progress hangs. Every loop that waits
	// for long logs what it has got to, so minutes of silence are many.
	defaultSilence = 10 * time.Minute

	// dumpWithin is how long a process may take to print its goroutines.
	dumpWithin = time.Minute

	// orphansWithin is how long processes that a test left behind may keep its
	// output open.
	orphansWithin = 10 * time.Second
)

// stuck begins the line that a watcher writes about tests that make no
// progress.
const stuck = "gotest: no progress "

// watcher runs the tests of one package, and ends them when they make no
// progress.
type watcher struct {
	silence, dump, orphans time.Duration
	to                     io.Writer
}

// run runs the tests and returns their exit status.
func (w watcher) run(command []string) (status int, err error) {
	said := make(chan struct{}, 1)
	var lock sync.Mutex
	// Programs under test may log to stderr for ever: only what tests say is
	// progress.
	tests, programs := &lines{to: w.to, lock: &lock, said: said}, &lines{to: w.to, lock: &lock}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = tests, programs, w.orphans
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool { return variable == compiling+"="+fewCollections })

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the tests: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err = w.follow(said, signals, ended, func(s os.Signal) {
		if s == syscall.SIGQUIT {
			tests.print(fmt.Sprintf("\n%sfor %v: no test has begun, ended or logged\n", stuck, w.silence))
		}
		_ = cmd.Process.Signal(s) // it may end at this moment
	})
	tests.flush()
	programs.flush()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return 0, fmt.Errorf("wait for the tests: %w", err)
	}
	if status = cmd.ProcessState.ExitCode(); status < 0 { // by a signal
		status = 1
	}
	return status, nil
}

// follow waits until the tests have ended. When they have said nothing for
// long, it asks them for their goroutines, and then kills them.
func (w watcher) follow(said <-chan struct{}, signals <-chan os.Signal, ended <-chan error, send func(os.Signal)) error {
	patience := time.NewTimer(w.silence)
	defer patience.Stop()
	next := os.Signal(syscall.SIGQUIT)
	for {
		select {
		case <-said:
			if next == syscall.SIGQUIT { // later it is the dump that speaks
				patience.Reset(w.silence)
			}
		case <-patience.C:
			send(next)
			next = os.Kill
			patience.Reset(w.dump)
		case s := <-signals:
			send(s)
		case err := <-ended:
			return err
		}
	}
}

// lines passes whole lines on, since two outputs become one.
type lines struct {
	to   io.Writer
	lock *sync.Mutex     // of to
	said chan<- struct{} // gets something for each write; may be nil

	rest []byte
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	select {
	case l.said <- struct{}{}:
	default:
	}
	l.rest = append(l.rest, p...)
	end := bytes.LastIndexByte(l.rest, '\n') + 1
	if end == 0 {
		return len(p), nil
	}
	err := l.write(l.rest[:end])
	l.rest = append(l.rest[:0], l.rest[end:]...)
	return len(p), err
}

func (l *lines) write(text []byte) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	if _, err := l.to.Write(text); err != nil {
		return fmt.Errorf("pass on the output of the tests: %w", err)
	}
	return nil
}

// print writes a line of our own.
func (l *lines) print(text string) { _ = l.write([]byte(text)) } // the tests' own output has the same fate

// flush writes a last line that has no end.
func (l *lines) flush() {
	if len(l.rest) > 0 {
		l.print(string(l.rest))
	}
}
