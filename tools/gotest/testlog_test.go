package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOnlyTheStackIsForgotten: the order stays, since paths are relative to the last chdir.
func TestOnlyTheStackIsForgotten(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	state, log := filepath.Join(base, "run", "run-1.json"), filepath.Join(base, "testlog.txt")
	if err := os.MkdirAll(filepath.Dir(state), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(base, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state, []byte(`{"name":"run-1","variables":["MILLRACE_STACK","AWS_ENDPOINT_URL","A"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	before := "# test log\ngetenv AWS_ENDPOINT_URL\ngetenv AWS_ENDPOINT_URL_S3\ngetenv A\ngetenv MILLRACE_STACK\nopen " + state +
		"\nstat " + base + "\nstat " + filepath.Dir(base) + "\nopen " + filepath.Dir(base) + "\nstat " + base + "/bin\nopen " + base + "/log\nchdir pkg\nstat " + base + "/data/run-1/x y\nopen " + base + "/bin/worker\nopen " + base + "/database\nopen run/it\n"
	want := "# test log\ngetenv AWS_ENDPOINT_URL_S3\nopen " + filepath.Dir(base) + "\nchdir pkg\nopen " + base + "/bin/worker\nopen " + base + "/database\nopen run/it\n"
	for name, c := range map[string]struct{ state, want string }{"no stack": {"", before}, "a stack": {state, want}} {
		if err := os.WriteFile(log, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := forgetStack(log, c.state); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(log); err != nil || string(got) != c.want {
			t.Errorf("%s: it keeps %q, %v", name, got, err)
		}
	}
	if err := forgetStack(filepath.Join(base, "none"), state); err != nil {
		t.Errorf("without a log: %v", err)
	}
}
