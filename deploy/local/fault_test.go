package local_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"millrace/deploy/local"
)

// becomeSupervisor makes the test binary start a stack and wait to be killed.
const becomeSupervisor = "MILLRACE_TEST_SUPERVISOR"

func TestMain(m *testing.M) {
	if os.Getenv(becomeSupervisor) == "" {
		os.Exit(m.Run())
	}
	stack, err := local.Start(context.Background(), local.Options{
		Services: []string{local.Elasticsearch, local.Kinesalite}, ElasticsearchHeap: "512m", Progress: os.Stderr,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, service := range stack.Services() {
		fmt.Print(service.Pid(), " ")
	}
	fmt.Println()
	select {}
}

func TestDataSurvivesKill(t *testing.T) {
	ctx := t.Context()
	stack, err := local.Start(ctx, local.Options{
		Services: []string{local.Temporal, local.Elasticsearch}, ElasticsearchHeap: "512m", Progress: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stack.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := local.ReadState(stack.StateFile()); err != nil {
		t.Errorf("read the state of a running stack: %v", err)
	}

	t.Run("elasticsearch", func(t *testing.T) {
		service := stack.Service(local.Elasticsearch)
		document := service.URL() + "/telemetry/_doc/1"
		request(t, http.MethodPut, document, `{"kept": true}`)
		killAndRestart(t, service)
		if body := request(t, http.MethodGet, document, ""); !strings.Contains(body, `"kept": true`) {
			t.Errorf("after the restart: %s", body)
		}
	})
	t.Run("temporal", func(t *testing.T) {
		service := stack.Service(local.Temporal)
		temporal(t, service, "workflow", "start", "--type", "Any", "--task-queue", "nobody-polls", "--workflow-id", "kept")
		killAndRestart(t, service)
		if output := temporal(t, service, "workflow", "describe", "--workflow-id", "kept"); !strings.Contains(output, "kept") {
			t.Errorf("after the restart: %s", output)
		}
	})
}

// killAndRestart also checks that the address stays.
func killAndRestart(t *testing.T, service *local.Service) {
	t.Helper()
	address, pid := service.Address(), service.Pid()
	if err := service.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitDeath(t, pid)
	if service.Pid() != 0 {
		t.Errorf("the killed service still has process %d", service.Pid())
	}
	if err := service.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if service.Address() != address {
		t.Errorf("moved from %s to %s", address, service.Address())
	}
}

func TestServersDieWithKilledSupervisor(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ties a child's life to its parent's")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), becomeSupervisor+"=1")
	cmd.Stderr = t.Output()
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var elasticsearch, kinesalite int
	if _, err := fmt.Fscan(output, &elasticsearch, &kinesalite); err != nil {
		t.Fatalf("read the servers' process ids: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // It was killed.
	awaitDeath(t, elasticsearch)
	awaitDeath(t, kinesalite)
}

// awaitDeath waits until a process has ended; one that only waits to be collected by its parent has.
func awaitDeath(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(pid, 0) == nil {
		if stat, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "stat")); err == nil && strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("process %d is still alive", pid)
		}
	}
}

func request(t *testing.T, method, url, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := local.Client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("%s %s: %s: %s", method, url, response.Status, answer)
	}
	return string(answer)
}

func temporal(t *testing.T, service *local.Service, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), service.TemporalCLI(), append(args, "--address", service.Address())...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("temporal %v: %v: %s", args, err, output)
	}
	return string(output)
}

func TestFreshStackHasNoData(t *testing.T) {
	start := func() *local.Stack {
		stack, err := local.Start(t.Context(), local.Options{
			Services: []string{local.Kinesalite}, Name: "fresh-test", Fresh: true, Progress: t.Output(),
		})
		if err != nil {
			t.Fatal(err)
		}
		return stack
	}
	gone := func(path, when string) {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there %s", path, when)
		}
	}
	first := start()
	data := first.Service(local.Kinesalite).DataDir()
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	gone(data, "after the stack has stopped")

	// What one left that was killed.
	left, log := filepath.Join(data, "left"), filepath.Join(first.LogDir(), "left.log")
	for _, path := range []string{left, log} {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	second := start()
	gone(left, "in the next stack")
	gone(log, "in the next stack")
	if err := second.Stop(); err != nil {
		t.Error(err)
	}
}
