package observability

import "time"

// The jobs of Prometheus's configuration, by which alerts know what a target is.
const (
	CollectorJob = "millrace-collector"
	WorkerJob    = "millrace-worker"
)

var processes = Group{
	Name: "processes",
	Alerts: []Alert{
		{
			Name: "TargetDown", Severity: Ticket, For: 2 * time.Minute,
			Expr:    `up{job=~"` + CollectorJob + `|` + WorkerJob + `"} == 0`,
			Summary: "{{ $labels.job }} {{ $labels.instance }} does not answer",
			Description: "{{ $labels.instance }} ({{ $labels.job }}) has ended, hangs, or cannot be reached. Others take its shards over within seconds. " +
				"Look at its log, and start it again.",
			Runbook: "troubleshooting.md#a-process-is-down",
		},
		noneUp("NoCollector", CollectorJob, "Agents get no answer, and lose records when their buffers are full."),
		noneUp("NoWorker", WorkerJob, "Nothing is indexed or backed up; records wait in the stream."),
		{
			Name: "DependencyMissing", Severity: Ticket, For: 5 * time.Minute,
			Expr:        `max by (job, instance, dependency) (millrace_dependency_missing{dependency!="shards"}) == 1`,
			Summary:     "{{ $labels.job }} {{ $labels.instance }} lacks {{ $labels.dependency }}",
			Description: "{{ $labels.dependency }} does not answer {{ $labels.instance }} ({{ $labels.job }}), or refuses. /readyz there has the error.",
			Runbook:     "troubleshooting.md#a-dependency-is-missing",
		},
	},
}

func noneUp(alert, job, cost string) Alert {
	return Alert{
		Name: alert, Severity: Page, For: 2 * time.Minute, Expr: `absent(up{job="` + job + `"} == 1)`,
		Summary:     "Prometheus reaches no " + job,
		Description: cost + " All are down, or their targets are not configured. Start them; a SIGKILL has lost nothing.",
		Runbook:     "troubleshooting.md#a-process-is-down",
	}
}
