package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	// progressAfter is how long checks may take before the terminal says which of them it waits for.
	progressAfter = 2 * time.Second
	// mostWaiting bounds how many of them it names.
	mostWaiting = 3
)

// waiting are the checks that have not ended.
type waiting struct {
	checks []check
	mu     sync.Mutex
	ended  []bool
}

func newWaiting(checks []check) *waiting {
	return &waiting{checks: checks, ended: make([]bool, len(checks))}
}

func (w *waiting) done(check int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended[check] = true
}

// String says which they are.
func (w *waiting) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var names []string
	for i, ended := range w.ended {
		if !ended {
			names = append(names, w.checks[i].group+" "+w.checks[i].name)
		}
	}
	made, more := len(w.ended)-len(names), ""
	if len(names) > mostWaiting {
		more = fmt.Sprintf(" and %d more", len(names)-mostWaiting)
		names = names[:mostWaiting]
	}
	return fmt.Sprintf("%d of %d checks made; waiting for %s%s", made, len(w.ended), strings.Join(names, ", "), more)
}

// show shows on a terminal what is waited for, if it takes long, until stop is called.
func (w *waiting) show(terminal *screen) (stop func()) {
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(progressAfter)
		defer tick.Stop()
		shown := false
		for {
			select {
			case <-tick.C:
				terminal.redraw(w.String())
				shown = true
				tick.Reset(time.Second)
			case <-ended:
				if shown {
					terminal.redraw("")
				}
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-stopped
	}
}
