package local

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// shared starts nothing, and shares that under a name.
func shared(t *testing.T, root, name string, more ...string) (*Stack, string) {
	t.Helper()
	folders, err := makeFolders(root)
	if err != nil {
		t.Fatal(err)
	}
	stack := &Stack{name: name, folders: folders, started: time.Now()}
	if err := stack.takeLock(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stack.lock.release() })
	aws := &Service{definition: definition{name: AWS, env: func(s *Service) []string {
		return append(credentialVariables(), "AWS_ENDPOINT_URL="+s.URL())
	}}, stack: stack, ports: []int{4566}}
	stack.services = []*Service{aws}
	path, err := stack.Share(more...)
	if err != nil {
		t.Fatal(err)
	}
	return stack, path
}

// source runs a command in a shell that has sourced a script.
func source(t *testing.T, path, command string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `. "$0" && `+command, path)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestASharedStackIsFoundUntilItStops(t *testing.T) {
	t.Parallel()
	root := testRoot(t)
	const key = `MILLRACE_KEY=a key's "$HOME"`
	stack, path := shared(t, root, NameDemo, key)
	state, err := FindShared(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{key, "AWS_ENDPOINT_URL=http://127.0.0.1:4566", "AWS_REGION=" + Region, "MILLRACE_STACK=" + stack.StateFile()} {
		if !slices.Contains(state.Env, want) {
			t.Errorf("%q is missing in %q", want, state.Env)
		}
		got, err := source(t, path, "env") // exported, or env would not print it
		if err != nil || !slices.Contains(strings.Split(got, "\n"), want) {
			t.Errorf("%q is missing in %q, error %v", want, got, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, error %v", info, err)
	}
	if err := stack.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file of a stack that has stopped: %v", err)
	}
	if _, err := FindShared(root); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "./task demo") {
		t.Errorf("got %v", err)
	}
}

func TestTheDemoIsFoundBeforeTheStack(t *testing.T) {
	t.Parallel()
	root := testRoot(t)
	stack, _ := shared(t, root, NameStack)
	if state, err := FindShared(root); err != nil || state.Name != NameStack {
		t.Errorf("got %+v, error %v", state, err)
	}
	demo, _ := shared(t, root, NameDemo)
	if state, err := FindShared(root); err != nil || state.Name != NameDemo {
		t.Errorf("got %+v, error %v", state, err)
	}
	// A demo that is starting has a state, and no environment yet.
	demo.shared = nil
	if err := demo.writeState(); err != nil {
		t.Fatal(err)
	}
	if state, err := FindShared(root); err != nil || state.Name != NameStack {
		t.Errorf("got %+v, error %v", state, err)
	}
	if err := stack.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := FindShared(root); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "still starting") {
		t.Errorf("got %v", err)
	}
}

func TestTheScriptOfAKilledStackSetsNothing(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/demo.env"
	// No system that we know gives out process ids above 1<<22.
	if err := os.WriteFile(path, []byte(script(NameDemo, 4194305, []string{"AWS_REGION=x"})), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := source(t, path, "echo sourced"); err == nil || !strings.Contains(out, "./task demo") || strings.Contains(out, "sourced") {
		t.Errorf("printed %q, error %v", out, err)
	}
	if out, _ := source(t, path, "true; echo region $AWS_REGION"); strings.Contains(out, "region x") {
		t.Errorf("printed %q", out)
	}
}

func TestEnvironDropsOtherInstallations(t *testing.T) {
	t.Setenv("AWS_PROFILE", "production")
	t.Setenv("TEMPORAL_API_KEY", "secret")
	t.Setenv("MILLRACE_BUCKET", "production")
	t.Setenv("NOT_AWS_PROFILE", "kept")
	t.Setenv("MILLRACE_OPERATOR", "ada")
	got := Environ([]string{"AWS_REGION=here"})
	for variable, want := range map[string]bool{
		"AWS_PROFILE=production": false, "TEMPORAL_API_KEY=secret": false, "MILLRACE_BUCKET=production": false,
		"NOT_AWS_PROFILE=kept": true, "MILLRACE_OPERATOR=ada": true, "AWS_REGION=here": true,
	} {
		if slices.Contains(got, variable) != want {
			t.Errorf("%s is there: %v, want %v", variable, !want, want)
		}
	}
}
