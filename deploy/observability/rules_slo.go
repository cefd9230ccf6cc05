package observability

import "fmt"

// The objectives. Windows and factors of the alerts are those of the SRE workbook, chapter 5 ("Multiwindow,
// Multi-Burn-Rate Alerts"), for a budget of 30 days: a budget that burns 14.4 times too fast is 2 % shorter after an
// hour, one that burns 6 times too fast 5 % shorter after six hours, and 1 means that nothing is left in the end.
const (
	// DelayObjective is the share of records that are indexed within DelayBound of their receipt.
	DelayObjective = 0.99
	// DelayBound is a bucket of millrace_delay_seconds, in seconds. Prometheus 2 and 3 write 2.5 alike, which does not
	// hold for integers.
	DelayBound = "2.5"
	// IngestObjective is the share of records that collectors make durable, of all that they could have.
	IngestObjective = 0.999
)

// sloWindows are all that the alerts below use.
var sloWindows = []string{"5m", "30m", "1h", "6h", "3d"}

// burns are the three alerts on a budget: both windows must burn, the long one so that little is no alarm, the short one
// so that the alarm ends with its cause.
var burns = []struct {
	suffix      string
	factor      string
	long, short string
	over, pace  string // in words
	severity    Severity
}{
	{"Fast", "14.4", "1h", "5m", "the last hour", "14.4 times too fast", Page},
	{"", "6", "6h", "30m", "the last six hours", "6 times too fast", Page},
	{"Slowly", "1", "3d", "6h", "the last three days", "too fast", Ticket},
}

var delaySLO = budget("delay", "DelayBudgetBurns", "millrace:delay_slow:ratio_rate", 1-DelayObjective,
	`1 - sum(rate(millrace_delay_seconds_bucket{le="`+DelayBound+`"}[%[1]s])) / (sum(rate(millrace_delay_seconds_count[%[1]s])) > 0)`,
	"Records reach the index too late",
	"{{ $value | humanizePercentage }} of the records took longer than "+DelayBound+" s from their receipt to the index, and 1 % may. "+
		"Agents have their answers; readers of the index wait. Look at starter shards, and at the dashboard Millrace overview.",
	"troubleshooting.md#records-are-late")

var ingestSLO = budget("ingest", "IngestBudgetBurns", "millrace:ingest_unavailable:ratio_rate", 1-IngestObjective,
	`(sum(rate(millrace_api_records_total{result="unavailable"}[%[1]s])) or vector(0)) / (sum(rate(millrace_api_records_total{result=~"accepted|unavailable"}[%[1]s])) > 0)`,
	"Collectors turn records away",
	"{{ $value | humanizePercentage }} of the records could not be made durable, and 0.1 % may. Agents got 503 and must send them again, "+
		"or lose them. Look at /readyz of the collectors, which names what is missing.",
	"troubleshooting.md#agents-are-turned-away")

// budget is the group of an objective: what it records for each window, and its alerts.
func budget(slo, alert, record string, share float64, ratio, summary, description, runbook string) Group {
	g := Group{Name: "slo-" + slo}
	for _, w := range sloWindows {
		g.Records = append(g.Records, Record{Name: record + w, Expr: fmt.Sprintf(ratio, w)})
	}
	for _, b := range burns {
		limit := fmt.Sprintf(" > %s * %.3g", b.factor, share)
		g.Alerts = append(g.Alerts, Alert{
			Name: alert + b.suffix, Severity: b.severity, Expr: record + b.long + limit + "\nand\n" + record + b.short + limit,
			Labels:      map[string]string{"slo": slo},
			Summary:     summary + ": the error budget burns " + b.pace,
			Description: "Over " + b.over + ", " + description,
			Runbook:     runbook,
		})
	}
	return g
}
