package docs

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	_ "millrace/api"
	_ "millrace/api/batching"
	"millrace/internal/dedup"
	"millrace/internal/delay"
	"millrace/internal/ops"
	_ "millrace/workers"

	"millrace/tools/reference"
)

// TestMetricsAreCurrent compares the table of metrics with the registered collectors. Most packages register theirs when
// they are imported, so a program serves those of the packages it is made of; the server for operators has one more, and the
// worker two.
func TestMetricsAreCurrent(t *testing.T) {
	t.Parallel()
	collector, worker := sources(t, "millrace/api/cmd"), sources(t, "millrace/workers/cmd")
	registry := prometheus.DefaultRegisterer.(*prometheus.Registry)
	registry.MustRegister(ops.Dependencies{Optional: map[string]ops.Check{"some": func(context.Context) error { return nil }}})
	imported, err := reference.Metrics(registry, "millrace_")
	if err != nil {
		t.Fatal(err)
	}
	ofBoth := map[string]bool{}
	for _, m := range imported {
		ofBoth[m.Name] = true
	}
	dedup.New(1).Register(registry)
	delays := delay.New()
	delays.Observe(delay.Received{}, time.Now()) // a region has no series before its first record
	registry.MustRegister(delays)
	all, err := reference.Metrics(registry, "millrace_")
	if err != nil {
		t.Fatal(err)
	}
	registered := map[string]bool{}
	for _, m := range all {
		registered[m.Name] = true
	}
	for _, match := range regexp.MustCompile(`(?:Name:|NewDesc\() *"(millrace_[a-z_]+)"`).FindAllStringSubmatch(collector+worker, -1) {
		if !registered[match[1]] {
			t.Errorf("no package that this test imports registers %s", match[1])
		}
	}
	reference.Check(t, "metrics.md", "metrics", reference.Table(all, func(name string) string {
		switch quoted := `"` + name + `"`; {
		case !strings.Contains(collector, quoted) || !ofBoth[name]:
			return "worker"
		case !strings.Contains(worker, quoted):
			return "collector"
		}
		return "both"
	}))
}

// sources returns the code of all packages of ours that a program is made of.
func sources(t *testing.T, program string) string {
	t.Helper()
	folders, err := exec.Command("go", "list", "-deps", "-f", `{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}`, program).Output()
	if err != nil {
		t.Fatalf("list the packages of %s: %v", program, err)
	}
	var all strings.Builder
	for _, folder := range strings.Fields(string(folders)) {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
	}
	return all.String()
}
