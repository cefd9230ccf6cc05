package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The stacks that last, each named as the task that runs it.
const (
	NameDemo  = "demo"
	NameStack = "stack"
)

// Share gives a named stack to other processes of its clone: its environment, and more variables, each as KEY=VALUE, go
// into its state file, and into a file that a shell can source. Share returns the path of that, from the working directory
// if the file is below it. Stop removes both files.
func (s *Stack) Share(more ...string) (path string, err error) {
	s.save.Lock()
	s.shared = slices.Concat(s.Env(), more)
	s.save.Unlock()
	if err := s.writeState(); err != nil {
		return "", err
	}
	path = s.folders.env(s.name)
	if err := replaceFile(path, []byte(script(s.name, os.Getpid(), s.shared))); err != nil {
		return "", fmt.Errorf("write the stack's environment: %w", err)
	}
	if wd, err := os.Getwd(); err == nil {
		if from, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(from) {
			return from, nil
		}
	}
	return path, nil
}

// script sets variables in the shell that sources it. A stack that was killed leaves its script behind; another program
// may have its ports since, so the script refuses once the stack's process has gone.
func script(name string, pid int, variables []string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "# The environment of the %s of this clone, for starter, temporal and the AWS CLI. Source it: . .local/%[1]s.env\n", name)
	fmt.Fprintf(&text, "kill -0 %d 2>/dev/null || { echo 'the %[2]s has ended: start it with ./task %[2]s' >&2; return 1; }\n", pid, name)
	for _, variable := range variables {
		key, value, _ := strings.Cut(variable, "=")
		fmt.Fprintf(&text, "export %s='%s'\n", key, strings.ReplaceAll(value, "'", `'\''`))
	}
	return text.String()
}

// FindShared returns the state of the demo of a clone, or of its stack if no demo is shared. A stack that is still
// starting is not shared yet. Without any, the error wraps ErrNotRunning.
func FindShared(root string) (*State, error) {
	for _, name := range []string{NameDemo, NameStack} {
		state, err := ReadState(StateFile(root, name))
		if err == nil && len(state.Env) > 0 {
			return state, nil
		}
		if err != nil && !errors.Is(err, ErrNotRunning) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w in this clone, or it is still starting: run `./task %s` or `./task %s` in another terminal, and try again when it says that it runs",
		ErrNotRunning, NameDemo, NameStack)
}

// Environ returns the environment of this process with the given variables, each as KEY=VALUE, in place of all that
// configure Millrace, AWS or Temporal: settings for another installation are not for this one. The operator is the same.
func Environ(variables []string) []string {
	return append(slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return slices.ContainsFunc([]string{"MILLRACE_", "AWS_", "TEMPORAL_"}, func(prefix string) bool {
			return strings.HasPrefix(variable, prefix) && !strings.HasPrefix(variable, "MILLRACE_OPERATOR=")
		})
	}), variables...)
}
