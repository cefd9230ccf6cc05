package observability

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"millrace/deploy/local"
)

// schema is the check of dashboards with the types of Grafana's SDK. It is built once.
var schema = sync.OnceValues(func() (string, error) {
	root, err := local.FindRoot(".")
	if err != nil {
		return "", err
	}
	path := filepath.Join(root, ".local", "bin", "grafana")
	return path, local.BuildTool(context.Background(), filepath.Join(root, "tools", "grafana"), local.Program{Path: path, Source: "."}, local.Quickly()...)
})

// TestDashboardsHaveGrafanasSchema: each member is one of Grafana's model, and of its type.
func TestDashboardsHaveGrafanasSchema(t *testing.T) {
	t.Parallel()
	path, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil || len(files) != len(Dashboards()) {
		t.Fatalf("%d files of %d dashboards: %v", len(files), len(Dashboards()), err)
	}
	if err := local.Reads(files...); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(t.Context(), path, files...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// TestSchemaRefusesOtherMembers proves that the check can fail.
func TestSchemaRefusesOtherMembers(t *testing.T) {
	t.Parallel()
	path, err := schema()
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile("dashboards/overview.json")
	if err != nil {
		t.Fatal(err)
	}
	for what, edit := range map[string][2]string{
		"an unknown member of a panel": {`"gridPos": {`, `"gridPosition": {`},
		"an unknown option of a graph": {`"fillOpacity": 5`, `"fill": 5`},
		"an unknown member of a query": {`"legendFormat": `, `"legend": `},
		"a unit that is a number":      {`"unit": "s"`, `"unit": 5`},
		"a kind that is not checked":   {`"type": "timeseries"`, `"type": "graph"`},
	} {
		bad := strings.Replace(string(good), edit[0], edit[1], 1)
		file := filepath.Join(t.TempDir(), "bad.json")
		if err := os.WriteFile(file, []byte(bad), 0o644); err != nil {
			t.Fatal(err)
		}
		if bad == string(good) || exec.CommandContext(t.Context(), path, file).Run() == nil {
			t.Errorf("%s passes", what)
		}
	}
}

func TestPanelsExplainThemselves(t *testing.T) {
	t.Parallel()
	units := []Unit{Seconds, Bytes, BytesPerSecond, Share, RecordsPerSecond, CallsPerSecond, Count, Times}
	panels := 0
	for _, d := range Dashboards() {
		if d.ID == "" || d.Title == "" || d.Description == "" || len(d.Rows) == 0 {
			t.Errorf("dashboard %q lacks a name, a description, or panels", d.ID)
		}
		seen := map[string]bool{}
		for _, row := range d.Rows {
			for _, p := range row.Panels {
				panels++
				if p.Title == "" || p.Description == "" || !slices.Contains(units, p.Unit) || len(p.Queries) == 0 {
					t.Errorf("panel %q of %s lacks a title, a description, a unit, or a query", p.Title, d.ID)
				}
				if name := row.Title + "/" + p.Title; seen[name] {
					t.Errorf("%s has two panels %s", d.ID, name)
				} else {
					seen[name] = true
				}
				for _, q := range p.Queries {
					if q.Expr == "" || q.Legend == "" {
						t.Errorf("panel %s of %s has a query without an expression or a legend", p.Title, d.ID)
					}
				}
			}
		}
	}
	t.Logf("%d panels in %d dashboards", panels, len(Dashboards()))
}

func TestMetricsAreFound(t *testing.T) {
	t.Parallel()
	all := Metrics()
	for _, want := range []string{"millrace_delay_seconds", "millrace_api_records_total", "millrace_shard_state", "up", "process_cpu_seconds_total"} {
		if !slices.Contains(all, want) {
			t.Errorf("%s is missing in %v", want, all)
		}
	}
	for _, name := range all {
		if strings.HasSuffix(name, "_bucket") || strings.Contains(name, ":") {
			t.Errorf("%s is no name of a metric", name)
		}
	}
	for name := range Absent {
		if !slices.Contains(all, name) {
			t.Errorf("%s is declared absent, and used by no rule or dashboard", name)
		}
	}
}
