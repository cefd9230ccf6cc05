package local

import (
	"archive/zip"
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

func TestUnzip(t *testing.T) {
	pack := func(names ...string) string {
		path := filepath.Join(t.TempDir(), "archive.zip")
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		writer := zip.NewWriter(file)
		for _, name := range names {
			if _, err := writer.Create(name); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(writer.Close(), file.Close()); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dir := t.TempDir()
	if err := unzip(pack("program-1.0/", "program-1.0/bin/program", "program-1.0/lib/program.jar"), dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"bin/program": 0o755, "lib/program.jar": 0o644} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
	if err := unzip(pack("program-1.0/../../escaped"), dir); err == nil {
		t.Error("unpacked a file outside of the folder")
	}
}
