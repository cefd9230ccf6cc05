package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// State describes a running stack to other processes.
type State struct {
	Name     string                  `json:"name"`
	Pid      int                     `json:"pid"` // The process that runs the stack.
	Started  time.Time               `json:"started"`
	Services map[string]ServiceState `json:"services"`
	// Variables are the names of the variables that the stack sets for processes that use it.
	Variables []string `json:"variables"`

	// Env is the environment of processes that use the stack, each as KEY=VALUE. None: the stack is not shared yet.
	Env []string `json:"env,omitempty"`
}

// ServiceState describes one service of a running stack.
type ServiceState struct {
	Address     string `json:"address"`
	URL         string `json:"url"`
	Pid         int    `json:"pid"`
	Log         string `json:"log"`
	Program     string `json:"program"` // The folder where it is installed.
	SnapshotDir string `json:"snapshot_dir,omitempty"`
}

// ErrNotRunning says that there is no stack, or no longer.
var ErrNotRunning = errors.New("no stack is running")

// ReadState reads a state file. It returns ErrNotRunning when the stack has gone, even if it was killed and the file is
// still there.
func ReadState(path string) (*State, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, fmt.Errorf("read the stack's state: %w", err)
	}
	var state State
	if err := json.Unmarshal(text, &state); err != nil {
		return nil, fmt.Errorf("decode the stack's state: %w", err)
	}
	if err := syscall.Kill(state.Pid, 0); errors.Is(err, syscall.ESRCH) {
		return nil, ErrNotRunning
	}
	return &state, nil
}

// StateFile is the path of a named stack's state file in a clone.
func StateFile(root, name string) string { return foldersOf(root).state(name) }

// writeState replaces the state file, which others may be reading.
func (s *Stack) writeState() error {
	s.save.Lock()
	defer s.save.Unlock()
	state := State{Name: s.name, Pid: os.Getpid(), Started: s.started, Services: map[string]ServiceState{}, Env: s.shared}
	for _, variable := range s.Env() {
		name, _, _ := strings.Cut(variable, "=")
		state.Variables = append(state.Variables, name)
	}
	for _, service := range s.services {
		described := ServiceState{Address: service.Address(), URL: service.URL(), Pid: service.Pid(), Log: service.log, Program: service.program}
		if service.definition.unprivileged {
			described.SnapshotDir = service.SnapshotDir()
		}
		state.Services[service.Name()] = described
	}
	text, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the stack's state: %w", err)
	}
	if err := replaceFile(s.StateFile(), append(text, '\n')); err != nil {
		return fmt.Errorf("write the stack's state: %w", err)
	}
	return nil
}

// replaceFile writes a file in one step. Only its owner may read it, since an environment has keys.
func replaceFile(path string, text []byte) error {
	next := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".next")
	if err := os.WriteFile(next, text, 0o600); err != nil {
		return fmt.Errorf("write the new file: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("replace the file: %w", err)
	}
	return nil
}

// alreadyRuns says which stack is in the way, and where.
func alreadyRuns(stateFile, name string) error {
	state, err := ReadState(stateFile)
	if err != nil { // It has just started, and not written its state yet.
		return fmt.Errorf("a %s of this clone is already running", name)
	}
	var where strings.Builder
	for _, service := range Services() {
		if s, has := state.Services[service]; has {
			fmt.Fprintf(&where, "\n  %-14s %s", service, s.URL)
		}
	}
	return fmt.Errorf("a %s of this clone is already running, as process %d since %s: use it, or end it first%s",
		name, state.Pid, state.Started.Format(time.TimeOnly), where.String())
}
