package observability

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"millrace/deploy/local"
	"millrace/deploy/observability/prometheus"
)

// alerts are all, by name.
func alerts(t *testing.T) map[string]Alert {
	t.Helper()
	all := map[string]Alert{}
	for _, g := range Groups() {
		for _, a := range g.Alerts {
			if _, twice := all[a.Name]; twice {
				t.Errorf("%s is there twice", a.Name)
			}
			all[a.Name] = a
		}
	}
	return all
}

// promtool is built once.
var promtool = sync.OnceValues(func() (string, error) {
	root, err := local.FindRoot(".")
	if err != nil {
		return "", err
	}
	return prometheus.BuildPromtool(context.Background(), root)
})

func runPromtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := promtool()
	if err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, output)
	}
}

func TestFilesAreCurrent(t *testing.T) {
	t.Parallel()
	files, err := Files()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if got, err := os.ReadFile(name); err != nil || string(got) != string(want) {
			t.Errorf("%s is out of date: run go generate ./deploy/observability: %v", name, err)
		}
	}
}

// TestEveryAlertIsTested: each has a scenario in which it fires and one in which it does not, names whom it reaches and
// what to do, and its texts use labels that it has.
func TestEveryAlertIsTested(t *testing.T) {
	t.Parallel()
	label := regexp.MustCompile(`\$labels\.(\w+)`)
	all := alerts(t)
	for name, a := range all {
		var firing, quiet int
		for _, s := range scenarios[name] {
			if !s.fires {
				quiet++
				continue
			}
			firing++
			for _, used := range label.FindAllStringSubmatch(a.Summary+a.Description, -1) {
				if _, is := a.Labels[used[1]]; !is && !strings.Contains(","+s.with, ","+used[1]+"=") {
					t.Errorf("%s speaks of the label %s, which it lacks when %s", name, used[1], s.what)
				}
			}
		}
		if firing == 0 || quiet == 0 {
			t.Errorf("%s has %d scenarios in which it fires, and %d in which it does not", name, firing, quiet)
		}
		if !slices.Contains([]Severity{Page, Ticket, Info}, a.Severity) || a.Summary == "" || a.Description == "" || a.Runbook == "" {
			t.Errorf("%s lacks a severity, a text, or a runbook", name)
		}
	}
	for name := range scenarios {
		if _, is := all[name]; !is {
			t.Errorf("there is no alert %s", name)
		}
	}
	t.Logf("%d alerts", len(all))
}

// A file of promtool's tests: https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules
type testFile struct {
	Rules []string    `yaml:"rule_files"`
	Every string      `yaml:"evaluation_interval"`
	Tests []testGroup `yaml:"tests"`
}

type testGroup struct {
	Name     string       `yaml:"name"`
	Interval string       `yaml:"interval"`
	Series   []testSeries `yaml:"input_series"`
	Cases    []testCase   `yaml:"promql_expr_test"`
}

type testSeries struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

type testCase struct {
	Expr string       `yaml:"expr"`
	At   string       `yaml:"eval_time"`
	Want []testSample `yaml:"exp_samples"`
}

type testSample struct {
	Labels string  `yaml:"labels"`
	Value  float64 `yaml:"value"`
}

// TestAlertsFire shows each alert its scenarios.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	rules, err := Rules(Options{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, rules, 0o644); err != nil {
		t.Fatal(err)
	}
	runPromtool(t, "check", "rules", "--lint=all", "--lint-fatal", file)
	all := alerts(t)
	for _, pace := range paces {
		tests := testFile{Rules: []string{file}, Every: pace.evaluate.String()}
		for _, name := range slices.Sorted(maps.Keys(all)) {
			for _, s := range scenarios[name] {
				if s.pace() == pace {
					tests.Tests = append(tests.Tests, s.test(all[name]))
				}
			}
		}
		text, err := yaml.Marshal(tests)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "tests.yml")
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		runPromtool(t, "test", "rules", path)
	}
	tested := 0
	for name := range all {
		fires := func(s scenario) bool { return s.fires }
		silent := func(s scenario) bool { return !s.fires }
		if slices.ContainsFunc(scenarios[name], fires) && slices.ContainsFunc(scenarios[name], silent) {
			tested++
		}
	}
	t.Logf("%d alerts fire and stay silent", tested)
}

// pace is how far values of a scenario, and evaluations of the rules, are apart: each evaluation computes all of them.
type pace struct{ until, values, evaluate time.Duration }

var paces = []pace{{2 * hour, minute, minute}, {day, minute, hour / 2}, {100 * day, hour, hour}}

func (s scenario) pace() pace {
	return paces[slices.IndexFunc(paces, func(p pace) bool { return s.at <= p.until })]
}

func (s scenario) test(a Alert) testGroup {
	group := testGroup{Name: a.Name + ": " + s.what, Interval: s.pace().values.String()}
	for _, series := range slices.Sorted(maps.Keys(s.in)) {
		group.Series = append(group.Series, testSeries{series, s.in[series]})
	}
	firing := testCase{Expr: fmt.Sprintf(`ALERTS{alertname=%q, alertstate="firing"}`, a.Name), At: s.at.String()}
	if s.fires {
		labels := fmt.Sprintf(`alertname=%q, alertstate="firing", severity=%q`, a.Name, a.Severity)
		for name, value := range a.Labels {
			labels += fmt.Sprintf(", %s=%q", name, value)
		}
		if s.with != "" {
			labels += "," + s.with
		}
		firing.Want = []testSample{{"ALERTS{" + labels + "}", 1}}
	}
	group.Cases = []testCase{firing}
	if before := a.For - s.pace().evaluate; s.fires && before >= 0 && before < a.For { // it must have lasted
		group.Cases = append(group.Cases, testCase{Expr: firing.Expr, At: before.String()})
	}
	return group
}

func TestScaleMultipliesEveryDuration(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		expr  string
		scale float64
		want  string
	}{
		{`rate(a_total[5m]) > 0`, 1, `rate(a_total[5m]) > 0`},
		{`rate(a_total[5m]) > 0`, 1.0 / 60, `rate(a_total[5s]) > 0`},
		{`max_over_time(a[1d:30m]) > 15m`, 0.5, `max_over_time(a[12h:15m]) > 450`},
		{`time() - a > 2h`, 1, `time() - a > 7200`},
		{`rate(a[5m])`, 1.0 / 1000, `rate(a[300ms])`},
		{`millrace:a:ratio_rate5m{le="2.5", name="5m"} > 5m`, 0.5, `millrace:a:ratio_rate5m{le="2.5", name="5m"} > 150`},
	} {
		if got := Scale(c.expr, c.scale); got != c.want {
			t.Errorf("%s at %g is %s, want %s", c.expr, c.scale, got, c.want)
		}
	}
}

// TestRulesOfFasterPipeline are valid, too, and no window is shorter than Prometheus can write.
func TestRulesOfFasterPipeline(t *testing.T) {
	t.Parallel()
	rules, err := Rules(Options{Scale: 1.0 / 60, Docs: "https://docs.example/"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"[5s]", "for: 2s", "interval: 250ms", "> 120", "runbook_url: https://docs.example/troubleshooting.md#a-shard-is-waiting"} {
		if !strings.Contains(string(rules), want) {
			t.Errorf("%q is missing", want)
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, rules, 0o644); err != nil {
		t.Fatal(err)
	}
	runPromtool(t, "check", "rules", file)
}

// TestExampleOfPrometheusIsValid, and names the jobs that alerts know.
func TestExampleOfPrometheusIsValid(t *testing.T) {
	t.Parallel()
	if err := local.Reads("prometheus.yml", "rules.yml"); err != nil {
		t.Fatal(err)
	}
	runPromtool(t, "check", "config", "prometheus.yml")
	text, err := os.ReadFile("prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, job := range []string{CollectorJob, WorkerJob} {
		if !strings.Contains(string(text), "job_name: "+job+"\n") {
			t.Errorf("job %s is missing", job)
		}
	}
}
