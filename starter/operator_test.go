package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// operator runs the command in an environment of its own.
type operator struct {
	t   *testing.T
	env []string
}

// result is how a command ended.
type result struct {
	out, err string
	status   int
}

func newOperator(t *testing.T, env ...string) operator {
	// A program built with -race sleeps a second before it ends, or not.
	kept := []string{runMain + "=1", "GORACE=atexit_sleep_ms=0", "PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "MILLRACE_OPERATOR=operator"}
	if folder := os.Getenv("GOCOVERDIR"); folder != "" {
		kept = append(kept, "GOCOVERDIR="+folder)
	}
	return operator{t, append(kept, env...)}
}

// commandWithin bounds one command: on a busy machine each call to Temporal takes
// its time, and those that wait for a workflow make many.
const commandWithin = 10 * time.Minute

// run runs the command and returns how it ended.
func (o operator) run(args ...string) (r result) {
	o.t.Helper()
	program, err := os.Executable()
	if err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(o.t.Context(), commandWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var out, stderr bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = o.env, &out, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		r.status = exit.ExitCode()
	} else if err != nil {
		o.t.Fatalf("starter %v: %v", args, err)
	}
	r.out, r.err = out.String(), stderr.String()
	return r
}

// must runs a command that must succeed and print these texts.
func (o operator) must(args string, texts ...string) string {
	o.t.Helper()
	r := o.run(strings.Fields(args)...)
	if r.status != 0 {
		o.t.Fatalf("starter %s ended with %d: %s%s", args, r.status, r.out, r.err)
	}
	contains(o.t, args, r.out, texts...)
	return r.out
}

// mustJSON runs a command that must print JSON.
func (o operator) mustJSON(value any, args string) {
	o.t.Helper()
	if text := o.must(args); json.Unmarshal([]byte(text), value) != nil {
		o.t.Fatalf("starter %s does not print JSON of %T:\n%s", args, value, text)
	}
}

// fails runs a command that must fail and say these texts.
func (o operator) fails(args string, texts ...string) {
	o.t.Helper()
	r := o.run(strings.Fields(args)...)
	if r.status == 0 {
		o.t.Fatalf("starter %s succeeded: %s", args, r.out)
	}
	contains(o.t, args, r.out+r.err, texts...)
}

func contains(t *testing.T, args, got string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(got, text) {
			t.Errorf("starter %s does not print %q:\n%s", args, text, got)
		}
	}
}

// await polls until a condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen in time", what)
		}
		<-time.After(50 * time.Millisecond)
	}
}
