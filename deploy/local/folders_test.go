package local

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testRoot is a folder instead of a clone. As root, the servers' files do not lie in it.
func testRoot(t *testing.T) string {
	root := t.TempDir()
	t.Cleanup(func() {
		if err := os.RemoveAll(foldersOf(root).open); err != nil {
			t.Error(err)
		}
	})
	return root
}

func TestSecondStackOfSameNameIsRefused(t *testing.T) {
	folders, err := makeFolders(testRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	first := &Stack{name: "demo", folders: folders, started: time.Now()}
	if err := first.takeLock(); err != nil {
		t.Fatal(err)
	}
	second := &Stack{name: "demo", folders: folders}
	if err := second.takeLock(); err == nil || !strings.Contains(err.Error(), "already running") {
		t.Fatalf("got %v", err)
	}
	noEnv := func(*Service) []string { return nil }
	first.services = []*Service{{definition: definition{name: Elasticsearch, env: noEnv}, stack: first, ports: []int{9200}}}
	if err := first.writeState(); err != nil {
		t.Fatal(err)
	}
	err = second.takeLock()
	for _, want := range []string{"as process", "http://127.0.0.1:9200"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in: %v", want, err)
		}
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := second.takeLock(); err != nil {
		t.Errorf("refused after the first stopped: %v", err)
	}
	second.lock.release()
}

func TestStateOfKilledStackIsIgnored(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stack.json")
	// No system that we know gives out process ids above 1<<22.
	if err := os.WriteFile(path, []byte(`{"pid": 4194305}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadState(path); !errors.Is(err, ErrNotRunning) {
		t.Errorf("got %v, want %v", err, ErrNotRunning)
	}
}

func TestSweepLeavesRunningStacksAlone(t *testing.T) {
	folders, err := makeFolders(testRoot(t))
	if err != nil {
		t.Fatal(err)
	}
	running := &Stack{folders: folders}
	if err := running.takeLock(); err != nil {
		t.Fatal(err)
	}
	defer running.lock.release()
	const dead = temporaryPrefix + "1-0"
	for _, name := range []string{running.name, dead, "stack"} {
		for _, dir := range []string{folders.data(name, Temporal, false), folders.logs(name)} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(folders.lock(dead), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	sweep(folders)
	for name, want := range map[string]bool{running.name: true, dead: false, "stack": true} {
		for _, dir := range []string{folders.data(name, Temporal, false), folders.logs(name)} {
			if _, err := os.Stat(dir); (err == nil) != want {
				t.Errorf("%s is there: %v, want %v", dir, err == nil, want)
			}
		}
	}
}

func TestEnterable(t *testing.T) {
	if !enterable("/") {
		t.Error("/ cannot be entered")
	}
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.MkdirAll(filepath.Join(closed, "inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if enterable(filepath.Join(closed, "inside")) {
		t.Error("a folder in a closed one can be entered")
	}
}

func TestCleanRefusesWhileStackRuns(t *testing.T) {
	root := testRoot(t)
	folders, err := makeFolders(root)
	if err != nil {
		t.Fatal(err)
	}
	stack := &Stack{name: "stack", folders: folders}
	if err := stack.takeLock(); err != nil {
		t.Fatal(err)
	}
	if err := Clean(root); err == nil {
		t.Error("removed the data of a running stack")
	}
	stack.lock.release()
	if err := Clean(root); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{folders.base, folders.open} {
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there", dir)
		}
	}
}
