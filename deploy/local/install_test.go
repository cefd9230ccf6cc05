package local

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

func TestIncompleteInstallIsRepeated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "program")
	fill := func(content string, err error) func(string) error {
		return func(dir string) error {
			if writeErr := os.WriteFile(filepath.Join(dir, content), nil, 0o644); writeErr != nil {
				t.Fatal(writeErr)
			}
			return err
		}
	}
	broken := errors.New("connection lost")
	if _, err := InstallOnce(dir, fill("half", broken)); !errors.Is(err, broken) {
		t.Fatalf("got %v, want %v", err, broken)
	}
	if _, err := InstallOnce(dir, fill("whole", nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "half")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the rest of the first download is still there: %v", err)
	}
	_, err := InstallOnce(dir, func(string) error { return errors.New("downloaded again") })
	if err != nil {
		t.Error(err)
	}
}

func TestConcurrentInstallsRunOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "program")
	var fills atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := InstallOnce(dir, func(string) error { fills.Add(1); return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if fills.Load() != 1 {
		t.Errorf("installed %d times", fills.Load())
	}
}

func TestUnpackedArchiveLosesItsTopFolder(t *testing.T) {
	unpack := func(names ...string) string {
		unpacked := t.TempDir()
		for _, name := range names {
			path := filepath.Join(unpacked, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		return unpacked
	}
	dir := t.TempDir()
	if err := adopt(unpack("program-1.0/bin/program", "program-1.0/lib/program.jar"), dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"bin": 0o755 | os.ModeDir, "bin/program": 0o755, "lib/program.jar": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
	for _, names := range [][]string{nil, {"program"}, {"program-1.0/a", "other/b"}} {
		if err := adopt(unpack(names...), t.TempDir()); err == nil {
			t.Errorf("an archive of %q was taken", names)
		}
	}
}

// TestAPackageManagerLeavesNothingInTheClone: it runs in the folder that it fills.
func TestAPackageManagerLeavesNothingInTheClone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "download")
	service := &Service{stack: &Stack{progress: &progress{}}}
	if err := service.client(t.Context(), dir, "sh", "-c", "echo > marker"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "marker")); err != nil {
		t.Error(err)
	}
}
