package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestFailuresAreSaidUnlessTheCommandHasSaidThem: a download that fails is a program that
// fails, too, and says nothing unless we do.
func TestFailuresAreSaidUnlessTheCommandHasSaidThem(t *testing.T) {
	t.Parallel()
	var exit *exec.ExitError
	if err := exec.CommandContext(t.Context(), "sh", "-c", "exit 7").Run(); !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		err    error
		status int
		said   string
	}{
		"success":        {nil, 0, ""},
		"the command":    {errors.Join(commandFailed{exit}, nil), 7, ""},
		"a download":     {fmt.Errorf("run npm: %w\nno such package", exit), 1, "error: run npm: exit status 7\nno such package\n"},
		"something else": {errors.New("no stack"), 1, "error: no stack\n"},
	} {
		var said strings.Builder
		if status := report(c.err, &said); status != c.status || said.String() != c.said {
			t.Errorf("%s: status %d, said %q", name, status, said.String())
		}
	}
}
