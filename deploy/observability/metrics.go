package observability

import (
	"regexp"
	"slices"
	"strings"
)

// Absent are metrics of rules and dashboards that a program serves only once something has happened, and what that is.
// What looks at their absence, or sums them up, must know.
var Absent = map[string]string{
	"millrace_api_dropped_names_total":                 "an agent sends a name that OpenTelemetry has removed",
	"millrace_api_throttled_requests_total":            "a tenant exceeds its quota",
	"millrace_audit_last_run_timestamp_seconds":        "an audit of the backup ends",
	"millrace_drill_last_success_timestamp_seconds":    "a drill is complete",
	"millrace_recover_records_total":                   "a recovery or replay processes an object",
	"millrace_retention_indices_uncovered":             "retention runs",
	"millrace_retention_last_run_timestamp_seconds":    "retention runs",
	"millrace_snapshot_duration_seconds":               "a snapshot is taken",
	"temporal_request_resource_exhausted_total":        "the server refuses a call because of a limit",
	"temporal_workflow_task_execution_failed_total":    "a workflow task fails",
	"millrace_snapshot_last_success_timestamp_seconds": "a snapshot is taken",
}

var (
	metricName = regexp.MustCompile(`\b(?:millrace|process|temporal)_[a-z0-9_]+|\bup\b`)
	quoted     = regexp.MustCompile(`"[^"]*"`)
	grouping   = regexp.MustCompile(`\b(?:by|on|group_left|group_right|ignoring|without) *\([^)]*\)`)
	part       = regexp.MustCompile(`_(?:bucket|sum|count)$`)
	recorded   = regexp.MustCompile(`\b[a-z_]+:[a-z0-9_]+:[a-z0-9_]+`)
)

// Metrics are the names of all metrics that rules and dashboards use, without those that Prometheus records itself.
// Those of a histogram are named once.
func Metrics() []string {
	var all []string
	for _, expr := range expressions() {
		expr = grouping.ReplaceAllString(recorded.ReplaceAllString(quoted.ReplaceAllString(expr, ""), ""), "")
		for _, name := range metricName.FindAllString(expr, -1) {
			if base := part.ReplaceAllString(name, ""); strings.HasSuffix(base, "_seconds") {
				name = base
			}
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// expressions are those of all rules and panels.
func expressions() (all []string) {
	for _, g := range Groups() {
		for _, r := range g.Records {
			all = append(all, r.Expr)
		}
		for _, a := range g.Alerts {
			all = append(all, a.Expr)
		}
	}
	for _, d := range Dashboards() {
		for _, row := range d.Rows {
			for _, p := range row.Panels {
				for _, q := range p.Queries {
					all = append(all, q.Expr)
				}
			}
		}
	}
	return all
}
