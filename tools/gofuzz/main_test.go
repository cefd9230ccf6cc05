package main

import "testing"

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
