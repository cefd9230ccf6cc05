package main

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Hours are well if something happens in them.
func TestProgressRenewsPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		said, ended := make(chan struct{}), make(chan error)
		go func() {
			for range 60 {
				time.Sleep(9 * time.Minute)
				said <- struct{}{}
			}
			ended <- errors.New("of the tests")
		}()
		err := watcher{silence: 10 * time.Minute, dump: time.Minute}.follow(said, nil, ended, func(s os.Signal) { t.Errorf("they are sent %v", s) })
		if err == nil || err.Error() != "of the tests" {
			t.Errorf("they end with %v", err)
		}
	})
}

// What does not even print its goroutines is killed, whatever it says.
func TestSilenceEndsTests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		said, ended := make(chan struct{}, 12), make(chan error, 1)
		go func() {
			for range 12 {
				time.Sleep(time.Minute)
				said <- struct{}{}
				if time.Since(began) == time.Minute {
					time.Sleep(10 * time.Minute)
				}
			}
		}()
		var sent []os.Signal
		var at []time.Duration
		_ = watcher{silence: 10 * time.Minute, dump: 5 * time.Minute}.follow(said, nil, ended, func(s os.Signal) {
			sent, at = append(sent, s), append(at, time.Since(began))
			if s == os.Kill {
				ended <- nil
			}
		})
		if !slices.Equal(sent, []os.Signal{syscall.SIGQUIT, os.Kill}) || !slices.Equal(at, []time.Duration{11 * time.Minute, 16 * time.Minute}) {
			t.Errorf("sent %v after %v", sent, at)
		}
		time.Sleep(time.Hour) // until the test is silent
	})
}

func TestTestsAreWatched(t *testing.T) {
	t.Parallel()
	long := watcher{silence: time.Hour, dump: time.Hour, orphans: time.Hour}
	short := watcher{silence: 100 * time.Millisecond, dump: 100 * time.Millisecond, orphans: 100 * time.Millisecond}
	for name, c := range map[string]struct {
		watcher
		script string
		status int
		output string
	}{
		"status and output are those of the tests":   {long, `echo out; echo more; printf end; exit 3`, 3, "out\nmore\nend"},
		"what programs log is passed on":             {long, `echo err >&2; exit 1`, 1, "err\n"},
		"goroutines are asked for":                   {short, `trap "echo goroutines; exit 2" QUIT; while :; do sleep 0.02; done`, 2, "\n" + stuck + "for 100ms: no test has begun, ended or logged\ngoroutines\n"},
		"what does not answer is killed":             {short, `trap "" QUIT; while :; do sleep 0.02; done`, 1, "\n" + stuck + "for 100ms: no test has begun, ended or logged\n"},
		"what is left behind is not waited for":      {watcher{silence: time.Hour, orphans: 100 * time.Millisecond}, `{ sleep 60; echo late; } & echo end`, 0, "end\n"},
		"what ends by a signal has not status zero":  {long, `kill -KILL $$`, 1, ""},
		"programs that log for ever are no progress": {short, `trap "exit 2" QUIT; while :; do echo log >&2; sleep 0.02; done`, 2, "…"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			c.to = &out
			status, err := c.run([]string{"sh", "-c", c.script})
			if err != nil || status != c.status {
				t.Errorf("status %d, want %d: %v", status, c.status, err)
			}
			if c.output != "…" && out.String() != c.output {
				t.Errorf("got %q, want %q", out.String(), c.output)
			}
		})
	}
}
