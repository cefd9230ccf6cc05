package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"millrace/internal/index"
)

// Waits between attempts at what must succeed in the end: exponential, half of
// each at random. Attempts have no limit: the record is in the stream, and
// whoever looks sees that the shard waits, and why.
const (
	firstWait   = 100 * time.Millisecond
	longestWait = 5 * time.Second
)

// errStopped says that a pipeline was stopped before it was done.
var errStopped = errors.New("stopped before it was done")

// pause waits for that long at the most, and reports false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	return waitFor(ctx, d/2+rand.N(d/2+1))
}

// waitFor waits, and reports false if ctx ended first.
func waitFor(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// insist repeats an operation until it succeeds. It fails only when ctx has
// ended; an attempt that was begun before that may still succeed.
func insist(ctx context.Context, problem *problem, what string, operation func() error) bool {
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		err := operation()
		if err == nil {
			problem.clear(what)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		problem.set(what, err)
		if !pause(ctx, wait) {
			return false
		}
	}
}

// panicked is the error type of what panicked.
const panicked = "panic"

// recovered turns a panic into an error, when it is deferred. A panic is a
// fault of ours, so its stack goes to the log at once.
func recovered(err *error) {
	if reason := recover(); reason != nil {
		slog.Error("recovered from a panic", "panic", reason, "stack", string(debug.Stack()))
		*err = fmt.Errorf("%s: %v", panicked, reason)
	}
}

// problem remembers what does not work at present. It is safe for concurrent
// use; the zero value is no problem.
type problem struct {
	mu    sync.Mutex
	since map[string]time.Time
	last  string
}

func (p *problem) set(what string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.since == nil {
		p.since = map[string]time.Time{}
	}
	if _, known := p.since[what]; !known {
		p.since[what] = time.Now()
	}
	p.last = what + ": " + err.Error()
}

func (p *problem) clear(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.since, what)
}

// state returns since when something does not work, zero if all does, and the
// last error there was.
func (p *problem) state() (since time.Time, last string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, at := range p.since {
		if since.IsZero() || at.Before(since) {
			since = at
		}
	}
	return since, p.last
}

// failure is what a server answered, as an error that shows no document.
func failure(e index.Error) error {
	e = withoutBody(e)
	return fmt.Errorf("%s: %s", e.Type, e.Reason)
}

// quoted is where servers quote values of a document.
var quoted = regexp.MustCompile(`'[^']*'|"[^"]*"`)

// longestReason bounds in bytes what histories and logs keep of a reason.
const longestReason = 300

// withoutBody is an error as it may stand in logs and histories: without what
// it quotes of a document. The ledger alone has it exact.
func withoutBody(e index.Error) index.Error {
	e.Cause = nil
	e.Reason, _, _ = strings.Cut(e.Reason, "Preview of field's value")
	e.Reason = quoted.ReplaceAllString(e.Reason, "'…'")
	if len(e.Reason) > longestReason {
		e.Reason = strings.ToValidUTF8(e.Reason[:longestReason], "") + "…"
	}
	return e
}
