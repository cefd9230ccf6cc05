package local

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestProgramThatIsTheSameKeepsItsTime: results of tests that run it stay in Go's cache.
func TestProgramThatIsTheSameKeepsItsTime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "program")
	made := time.Now().Add(-time.Hour).Truncate(time.Second)
	build := func(content string) time.Time {
		t.Helper()
		if err := keepTime(path, func() error { return os.WriteFile(path, []byte(content), 0o755) }); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.ModTime()
	}
	build("one")
	if err := os.Chtimes(path, made, made); err != nil {
		t.Fatal(err)
	}
	if got := build("one"); !got.Equal(made) {
		t.Errorf("the same program is from %v", got)
	}
	if got := build("two"); got.Equal(made) {
		t.Error("another program keeps the time of the one before")
	}
}
