package main

import (
	"path/filepath"
	"slices"
	"testing"
)

// TestOverdue: only an end that came too late is run again, not what was found.
func TestOverdue(t *testing.T) {
	for output, want := range map[string]bool{
		"--- FAIL: FuzzParse (20.06s)\n    context deadline exceeded\nFAIL\nexit status 1\n":                                true,
		"--- FAIL: FuzzParse (0.25s)\n    --- FAIL: FuzzParse (0.00s)\n        main_test.go:9: context deadline exceeded\n": false,
		"--- FAIL: FuzzParse (3.10s)\n    fuzzing process hung or terminated unexpectedly: exit status 2\n":                 false,
		"panic: context deadline exceeded\n": false,
	} {
		if overdue.MatchString(output) != want {
			t.Errorf("of %q it says %v", output, !want)
		}
	}
}

// TestTargetsCompileWithoutOtherTests: files with targets are compiled, and samples; no test that needs a server is.
func TestTargetsCompileWithoutOtherTests(t *testing.T) {
	t.Parallel()
	suites, err := find(t.Context(), []string{"millrace/internal/stream"})
	if err != nil || len(suites) != 1 {
		t.Fatalf("%d suites, %v", len(suites), err)
	}
	for file, want := range map[string]bool{"fuzz_test.go": false, shared: false, "stream_test.go": true, "decode_test.go": true} {
		if slices.Contains(suites[0].omitted, filepath.Join(suites[0].dir, file)) != want {
			t.Errorf("%s is left out: %v", file, !want)
		}
	}
}
