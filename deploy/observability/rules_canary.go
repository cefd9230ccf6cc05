package observability

import "time"

const (
	// CanaryObjective is the share of the canary's records that can be searched in time, by region.
	CanaryObjective = 0.999
	// CanaryBound is how long nine of ten of them take at the most, in seconds: an index is refreshed every five.
	CanaryBound = "10"
)

const canaryBudget = "millrace:canary_failed:ratio_rate"

// canarySLO is an objective for each region: its collector is what differs.
var canarySLO = budget("canary", "CanaryBudgetBurns", canaryBudget, 1-CanaryObjective,
	`1 - (sum by (region) (rate(millrace_canary_runs_total{result="searchable"}[%[1]s])) / (sum by (region) (rate(millrace_canary_runs_total[%[1]s])) > 0))`,
	"The canary of {{ $labels.region }} fails",
	"{{ $value | humanizePercentage }} of the records that the canary posted in {{ $labels.region }} could not be searched in time, and 0.1 % may. "+
		"Agents and readers there meet the same. starter canary status says what became of the last ones.",
	"troubleshooting.md#the-canary-fails")

var canaries = Group{
	Name: "canary",
	Alerts: []Alert{
		{
			Name: "CanarySlow", Severity: Ticket, For: 10 * time.Minute,
			Expr:    `histogram_quantile(0.9, sum by (region, le) (rate(millrace_canary_searchable_seconds_bucket[10m]))) > ` + CanaryBound,
			Summary: "Records of {{ $labels.region }} can be searched late: after {{ $value | humanizeDuration }}",
			Description: "One in ten records that the canary posts in {{ $labels.region }} takes longer than " + CanaryBound + " s until a search finds it. " +
				"Compare the delay to the index on the dashboard Millrace overview: what is beyond it, the refresh of the index takes.",
			Runbook: "troubleshooting.md#the-canary-is-slow",
		},
		{
			Name: "CanarySilent", Severity: Ticket, For: 2 * time.Minute,
			// The latest run, whichever worker it was in; where none has a canary any more, for an hour.
			Expr:        `time() - max by (region) (max_over_time(millrace_canary_last_run_timestamp_seconds[1h])) > 5m`,
			Summary:     "The canary of {{ $labels.region }} has not run for {{ $value | humanizeDuration }}",
			Description: "Nothing says whether records of {{ $labels.region }} can be searched. starter canary status shows the schedule and the last run; starter canary schedule makes the schedule.",
			Runbook:     "troubleshooting.md#the-canary-is-silent",
		},
	},
}
