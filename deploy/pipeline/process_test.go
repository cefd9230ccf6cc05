package pipeline

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell starts a script.
func shell(t *testing.T, script string) *Process {
	t.Helper()
	p, err := Start(Command{Name: "script", Program: "/bin/sh", Args: []string{"-c", script}, Log: filepath.Join(t.TempDir(), "log")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestProcessStopsGracefully(t *testing.T) {
	t.Parallel()
	p := shell(t, `trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done`)
	waitFor(t, p.Log, "up")
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
	waitFor(t, p.Log, "bye")
	if err := p.Stop(); err != nil {
		t.Errorf("stopped again: %v", err)
	}
	if cpu := p.CPU(); cpu <= 0 {
		t.Errorf("it took %v", cpu)
	}
}

func TestKillReachesGrandchildren(t *testing.T) {
	t.Parallel()
	p := shell(t, `sleep 1000 & echo $!; wait`)
	child := strings.TrimSpace(waitFor(t, p.Log, "\n"))
	p.Kill()
	// It may be a zombie for a moment, until init has read its end.
	deadline := time.Now().Add(5 * time.Second)
	for {
		stat, err := os.ReadFile("/proc/" + child + "/stat")
		if runtime.GOOS != "linux" || err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the grandchild lives: %s", stat)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestFailedExitIsReportedWithLog(t *testing.T) {
	t.Parallel()
	p := shell(t, `trap 'exit 3' TERM; echo up; while :; do sleep 0.05; done`)
	waitFor(t, p.Log, "up")
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), p.Log) {
		t.Errorf("status 3 gives %v", err)
	}
	p = shell(t, `echo "no such stream"; exit 1`)
	err := p.AwaitReady(t.Context(), "http://127.0.0.1:1")
	if err == nil || !strings.Contains(err.Error(), "no such stream") || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("a program that cannot start gives %v", err)
	}
}

func TestAwaitReadyWaitsForStatus200(t *testing.T) {
	t.Parallel()
	calls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls++; calls < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	if err := shell(t, `sleep 1000`).AwaitReady(t.Context(), server.URL); err != nil || calls != 3 {
		t.Errorf("ready after %d calls: %v", calls, err)
	}
}

func TestProcessUsageIsRead(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("reads Linux's /proc")
	}
	p := shell(t, `echo up; while :; do :; done`)
	waitFor(t, p.Log, "up")
	deadline := time.Now().Add(10 * time.Second)
	for {
		cpu, err := CPUTime(p.Pid())
		if err != nil {
			t.Fatal(err)
		}
		if cpu > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a busy process takes no time")
		}
		<-time.After(10 * time.Millisecond)
	}
	if peak, err := PeakMemory(p.Pid()); err != nil || peak < 100<<10 {
		t.Errorf("its memory is %d: %v", peak, err)
	}
	if err := p.Signal(syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	<-p.Ended()
}

// waitFor waits until a file holds a text, and returns what it holds.
func waitFor(t *testing.T, path, text string) string {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(got), text) {
			return string(got)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not come, but %q", text, got)
		}
		<-time.After(10 * time.Millisecond)
	}
}
