package reference

import (
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
)

func TestASectionIsReplaced(t *testing.T) {
	t.Parallel()
	document := "before\n<!-- generated: a -->\nold\n<!-- end: a -->\nafter\n"
	made, ok := replace(document, "a", "new\n")
	if want := "before\n<!-- generated: a -->\n\nnew\n\n<!-- end: a -->\nafter\n"; !ok || made != want {
		t.Errorf("the document is %q, %v", made, ok)
	}
	if again, _ := replace(made, "a", "new\n"); again != made {
		t.Errorf("a second time it is %q", again)
	}
	if _, ok := replace(document, "b", "new"); ok {
		t.Error("a section that is not there is replaced")
	}
}

// program is a command line with all that tables show.
type program struct {
	Name string `help:"Of | what." env:"NAME" group:"names"`
	Do   struct {
		It struct {
			Thing  string        `arg:"" help:"Which thing."`
			For    time.Duration `help:"How long." default:"5m0s"`
			Reason string        `help:"Why." required:"" env:"REASON"`
		} `cmd:"" help:"Do it."`
		All struct {
			For    time.Duration `help:"How long." default:"5m0s"`
			Follow bool          `help:"Wait." default:"true" negatable:""`
		} `cmd:"" default:"1" help:"Do all."`
	} `cmd:"" help:"Do things."`
}

func TestTablesHaveCommandsAndFlags(t *testing.T) {
	t.Parallel()
	parser, err := kong.New(&program{}, kong.ExplicitGroups([]kong.Group{{Key: "names", Title: "Names:"}}))
	if err != nil {
		t.Fatal(err)
	}
	commands := Commands(parser.Model.Children...)
	settings := Settings(FromEnvironment(parser.Model.Node))
	for _, c := range []struct{ text, row string }{
		{commands, "### do\n\nDo things.\n"},
		{commands, "| `do it <thing> --reason REASON` | Do it. |\n"},
		{commands, "| `do [all]` | Do all. |\n"},
		{commands, "| `<thing>` | it |  | Which thing. |\n"},
		{commands, "| `--for` | all | `5m` | How long. |\n"},
		{commands, "| `--reason` | it | required | Why. |\n"},
		{commands, "| `--[no-]follow` | all | `true` | Wait. |\n"},
		{settings, "**Names**\n\n| variable | flag | default | meaning |\n|---|---|---|---|\n| `NAME` | `--name` |  | Of \\| what. |\n"},
		{settings, "| `REASON` | `--reason` | required | Why. |\n"},
	} {
		if !strings.Contains(c.text, c.row) {
			t.Errorf("%q is missing in:\n%s", c.row, c.text)
		}
	}
	if strings.Contains(settings, "--for") {
		t.Errorf("a flag without a variable is among the settings:\n%s", settings)
	}
}

// TestMetricsHaveTheirTypes also of vectors without a value, which are not gathered.
func TestMetricsHaveTheirTypes(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		prometheus.NewCounter(prometheus.CounterOpts{Name: "a_total", Help: `Of "a".`}),
		prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "a_level", Help: "Level."}, []string{"shard", "state"}),
		prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "a_seconds", Help: "Time."}, []string{"shard"}),
		prometheus.NewGauge(prometheus.GaugeOpts{Name: "b", Help: "Of another program."}),
	)
	all, err := Metrics(registry, "a_")
	if err != nil {
		t.Fatal(err)
	}
	got := Table(all, func(string) string { return "worker" })
	want := "| metric | type | process | meaning |\n|---|---|---|---|\n" +
		"| `a_level{shard,state}` | gauge | worker | Level. |\n" +
		"| `a_seconds{shard}` | histogram | worker | Time. |\n" +
		"| `a_total` | counter | worker | Of \"a\". |\n"
	if got != want {
		t.Errorf("the table is\n%s, want\n%s", got, want)
	}
}
