package docs

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"millrace/deploy/observability"
	"millrace/tools/reference"
)

// TestAlertsAreCurrent compares the table of alerts with the rules.
func TestAlertsAreCurrent(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	out.WriteString("| alert | severity | after | what happened |\n|---|---|---|---|\n")
	for _, g := range observability.Groups() {
		for _, a := range g.Alerts {
			what := regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAllString(a.Summary, "…")
			fmt.Fprintf(&out, "| [%s](%s) | %s | %s | %s |\n", a.Name, a.Runbook, a.Severity, cmp.Or(a.After(), "at once"), what)
		}
	}
	reference.Check(t, "observing.md", "alerts", out.String())
}

// TestRunbooksExist: each alert, and each panel that links to one, leads to a heading that is there.
func TestRunbooksExist(t *testing.T) {
	t.Parallel()
	check := func(of, runbook string) {
		page, heading, _ := strings.Cut(runbook, "#")
		if found := anchors(read(t, page)); heading != "" && !found[heading] {
			t.Errorf("%s links to %s, a heading that does not exist", of, runbook)
		}
	}
	for _, g := range observability.Groups() {
		for _, a := range g.Alerts {
			check("alert "+a.Name, a.Runbook)
		}
	}
	for _, d := range observability.Dashboards() {
		for _, row := range d.Rows {
			for _, p := range row.Panels {
				if p.Runbook != "" {
					check("panel "+p.Title, p.Runbook)
				}
			}
		}
	}
}
