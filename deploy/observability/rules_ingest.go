package observability

import "time"

// losses are alerts on counters that must not move. Each is a plain counter, which is 0 from the start: a rate sees the
// first increase, unless it comes within the first scrape interval of a process.
var losses = Group{
	Name: "losses",
	Alerts: []Alert{
		{
			Name: "RecordsTrimmedUnread", Severity: Page,
			Expr:    `sum(increase(millrace_process_losses_total[1h])) > 0`,
			Labels:  process,
			Summary: "The stream has trimmed records that processing had not read",
			Description: "{{ $value | humanize }} ranges are possibly lost. The ledger has an entry of kind loss for each, with its range and times; " +
				"starter dlq list shows them, and starter replay indexes that time from the backup.",
			Runbook: "troubleshooting.md#records-were-trimmed-unread",
		},
		{
			Name: "BackupLacksRecords", Severity: Page,
			Expr:    `sum(increase(millrace_backup_losses_total[1h])) > 0`,
			Labels:  backup,
			Summary: "The stream has trimmed records that the backup had not read",
			Description: "{{ $value | humanize }} ranges will never be in the backup; only the indices and their snapshots may have them. " +
				"Take one now: starter snapshot take.",
			Runbook: "troubleshooting.md#the-backup-lacks-records",
		},
		{
			Name: "RunsUnreadable", Severity: Page,
			Expr:    `sum(increase(millrace_ingest_unreadable_runs_total[15m])) > 0`,
			Summary: "A terminated batch cannot be restarted",
			Description: "An IngestBatch or ProcessBatch was closed unfinished, and its history or input is gone: its records may be lost. " +
				"The worker's log names workflow and run every minute.",
			Runbook: "troubleshooting.md#a-run-cannot-be-restarted",
		},
	},
}

var ingest = Group{
	Name: "ingest",
	Alerts: []Alert{
		{
			Name: "BreakerOpen", Severity: Ticket, For: 5 * time.Minute,
			Expr:    `max by (instance) (millrace_ingest_breaker_open) == 1`,
			Summary: "Collector {{ $labels.instance }} works without Temporal",
			Description: "Temporal starts no workflows for collector {{ $labels.instance }}, which writes to the stream itself. Agents notice nothing; " +
				"without stream and queue, they would be turned away. Look at Temporal.",
			Runbook: "troubleshooting.md#temporal-is-down",
		},
		{
			Name: "KeyFileBroken", Severity: Ticket, For: 5 * time.Minute,
			Expr:    `max by (instance) (millrace_api_key_file_broken) == 1`,
			Summary: "Collector {{ $labels.instance }} cannot read its key file",
			Description: "The keys that it read before apply: a revoked key still works, a new one does not, and the collector would not start again. " +
				"The log of {{ $labels.instance }} names the fault.",
			Runbook: "troubleshooting.md#the-key-file-is-broken",
		},
		{
			Name: "FallbackQueueUsed", Severity: Ticket, For: 15 * time.Minute,
			Expr:        `sum(rate(millrace_intake_records_total{where="queue"}[5m])) > 0`,
			Summary:     "The stream rejects records, which take the way through the queue",
			Description: "{{ $value | humanize }} records a second go to the fallback queue. They are safe, and seconds to minutes late. Add shards if it persists: starter redrive status.",
			Runbook:     "troubleshooting.md#the-stream-throttles",
		},
		{
			Name: "FallbackQueueAges", Severity: Page, For: 5 * time.Minute,
			Expr:    `max by (queue) (max_over_time(millrace_redrive_oldest_seconds[5m])) > 15m`,
			Summary: "Records have waited in {{ $labels.queue }} for {{ $value | humanizeDuration }}",
			Description: "Redrive brings the records of {{ $labels.queue }} back more slowly than the stream rejects them, or has just begun with old ones. " +
				"SQS deletes a message after 14 days. starter redrive status says how fast it is.",
			Runbook: "troubleshooting.md#the-queue-grows",
		},
		{
			Name: "FallbackQueueStands", Severity: Page, For: 10 * time.Minute,
			Expr:    `sum(increase(millrace_queue_sent_records_total{result="taken"}[6h])) > 0 unless on () max(millrace_redrive_oldest_seconds >= 0)`,
			Summary: "Records are in the fallback queue, and nothing redrives them",
			Description: "Collectors have put {{ $value | humanize }} records into the queue within six hours, and no worker reports that it redrives: " +
				"Redrive is paused or does not run, or no worker polls its task queue. starter redrive status, then resume or start.",
			Runbook: "troubleshooting.md#the-queue-grows",
		},
		{
			Name: "FallbackQueueRefuses", Severity: Ticket, For: 5 * time.Minute,
			Expr:    `sum by (result) (rate(millrace_queue_sent_records_total{result!="taken"}[5m])) > 0`,
			Summary: "The fallback queue refuses records: {{ $labels.result }}",
			Description: "{{ $value | humanize }} records a second are refused with {{ $labels.result }}. What the stream rejects then waits in " +
				"IngestBatch workflows, or its agents are turned away. Check SQS, the overflow bucket, and their permissions.",
			Runbook: "troubleshooting.md#the-queue-refuses-records",
		},
	},
}
