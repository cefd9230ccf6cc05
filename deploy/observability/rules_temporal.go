package observability

import "time"

// temporal are alerts on what Temporal's SDK measures: https://docs.temporal.io/references/sdk-metrics
var temporal = Group{
	Name: "temporal",
	Alerts: []Alert{
		{
			Name: "WorkflowTasksFail", Severity: Page, For: 5 * time.Minute,
			// A failed task is tried again and again, so its counter, which is absent before, keeps rising.
			Expr:    `sum by (workflow_type, failure_reason) (increase(temporal_workflow_task_execution_failed_total[10m])) > 0`,
			Summary: "Workflows of type {{ $labels.workflow_type }} fail: {{ $labels.failure_reason }}",
			Description: "A worker's code does not fit the history of a {{ $labels.workflow_type }} ({{ $labels.failure_reason }}), which stands still until " +
				"it does: most often after an upgrade. The worker's log names the workflow.",
			Runbook: "troubleshooting.md#workflow-tasks-fail",
		},
		{
			Name: "WorkflowTasksWait", Severity: Ticket, For: 10 * time.Minute,
			Expr:    `histogram_quantile(0.95, sum by (le, task_queue) (rate(temporal_workflow_task_schedule_to_start_latency_seconds_bucket[5m]))) > 1`,
			Summary: "Workflow tasks of {{ $labels.task_queue }} wait for {{ $value | humanizeDuration }}",
			Description: "Workers poll {{ $labels.task_queue }} too slowly, or the server is slow. Batches of collectors take the direct way after half a second; " +
				"commands of operators are late. Add workers.",
			Runbook: "troubleshooting.md#tasks-wait-for-a-worker",
		},
		{
			Name: "SlotsTaken", Severity: Ticket, For: 15 * time.Minute,
			// Shards keep their slots of millrace-index and millrace-copy; their lag says whether there are enough.
			Expr:    `sum by (task_queue, worker_type) (temporal_worker_task_slots_available{task_queue!~"millrace-(index|copy)"}) == 0`,
			Summary: "All slots of {{ $labels.task_queue }} are taken ({{ $labels.worker_type }})",
			Description: "Tasks of {{ $labels.task_queue }} wait until others end ({{ $labels.worker_type }}). Add workers, or raise their slots: " +
				"--range-slots for batches, --recover-slots for a recovery.",
			Runbook: "troubleshooting.md#tasks-wait-for-a-worker",
		},
		{
			Name: "TemporalLimitsCalls", Severity: Ticket, For: 10 * time.Minute,
			Expr:    `sum by (operation) (rate(temporal_request_resource_exhausted_total[5m])) > 0`,
			Summary: "Temporal refuses calls of {{ $labels.operation }}, since a limit is exceeded",
			Description: "{{ $value | humanize }} calls of {{ $labels.operation }} a second exceed a limit of the namespace or the server. They are tried again, " +
				"later. Raise the limit, or use INGEST=direct, which starts no workflow per batch.",
			Runbook: "troubleshooting.md#temporal-limits-calls",
		},
	},
}
