package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Tests write down the files and variables that they read: so the go command knows whether it may take a result from its
// cache. Without -exec it asks them for that itself, by a flag, and looks for the file beside the program.
//
// The servers of the local stack have other ports and folders each time, and so would no result of a test with servers
// ever be taken. Their versions are part of the test's program, so the same program, files and variables are the same
// test, whatever the ports.

// stackVariable is the variable with the path of the state file of the stack. See package local.
const stackVariable = "MILLRACE_STACK"

// forgetStack removes from a test's log what differs only because its servers were started anew: variables that the stack
// sets, files of the stacks of this clone, their state, data and logs, and folders around them, whose times change with
// each file that is made there.
func forgetStack(log, state string) error {
	text, err := os.ReadFile(log)
	if state == "" || errors.Is(err, fs.ErrNotExist) { // a program without tests writes none
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what the tests have read: %w", err)
	}
	variables, err := stackVariables(state)
	if err != nil {
		return err
	}
	base := filepath.Dir(filepath.Dir(state))
	isStack := func(line []byte) bool {
		what, name, _ := strings.Cut(strings.TrimSuffix(string(line), "\n"), " ")
		switch what {
		case "getenv":
			return slices.Contains(variables, name)
		case "chdir": // the paths behind it are relative to it
			return false
		}
		info, err := os.Stat(name)
		isFolder := err == nil && info.IsDir()
		return isIn(name, filepath.Join(base, "run"), filepath.Join(base, "data"), filepath.Join(base, "log")) ||
			isFolder && isIn(name, base) || isFolder && what == "stat" && isIn(base, name)
	}
	lines := slices.DeleteFunc(bytes.SplitAfter(text, []byte("\n")), isStack)
	if err := os.WriteFile(log, bytes.Join(lines, nil), 0o600); err != nil {
		return fmt.Errorf("write what the tests have read: %w", err)
	}
	return nil
}

// stackVariables returns the names of the variables that a stack sets.
func stackVariables(state string) ([]string, error) {
	text, err := os.ReadFile(state)
	if err != nil {
		return nil, fmt.Errorf("read the stack's state: %w", err)
	}
	var stack struct {
		Variables []string `json:"variables"`
	}
	if err := json.Unmarshal(text, &stack); err != nil {
		return nil, fmt.Errorf("decode the stack's state: %w", err)
	}
	return stack.Variables, nil
}

// isIn reports whether an absolute path is one of some folders, or lies below one.
func isIn(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool {
		return path == folder || strings.HasPrefix(path, folder+string(filepath.Separator))
	})
}
