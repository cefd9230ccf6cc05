package observability

import "time"

// backup are the labels of alerts on the backup that take no stage from their series.
var backup = map[string]string{"stage": "backup"}

var backups = Group{
	Name: "backup",
	Alerts: []Alert{
		{
			Name: "BackupWaiting", Severity: Ticket, For: 5 * time.Minute,
			Expr: `max by (shard) (millrace_backup_waiting) == 1`, Labels: backup,
			Summary:     "The backup of shard {{ $labels.shard }} cannot make progress",
			Description: "S3 or the stream refuses. A disaster now would lose what only the stream has of shard {{ $labels.shard }}. starter backup status prints the error.",
			Runbook:     "troubleshooting.md#the-backup-is-behind-or-waiting",
		},
		{
			Name: "BackupLags", Severity: Ticket, For: 10 * time.Minute,
			// Three times what a record may wait (--backup-within).
			Expr:        lag + `{stage="backup"} > 15m`,
			Summary:     "The backup of shard {{ $labels.shard }} is {{ $value | humanizeDuration }} behind",
			Description: "Shard {{ $labels.shard }} (stage {{ $labels.stage }}) is read too slowly, or not at all. A disaster now would need the stream to be whole. starter backup status compares shards.",
			Runbook:     "troubleshooting.md#the-backup-is-behind-or-waiting",
		},
		nearsRetention("BackupNearsRetention", "backup", "Unread records are trimmed from the stream soon, and the backup will never have them"),
		{
			Name: "NothingIsBackedUp", Severity: Ticket, For: 10 * time.Minute,
			Expr: `absent(millrace_backup_lag_seconds) unless on () max(millrace_shard_state{stage="backup", state="paused"})`, Labels: backup,
			Summary: "No worker backs up any shard",
			Description: "The backup was stopped, or no worker polls its task queue. Remove this alert where a Firehose writes the backup. " +
				"starter backup status, then starter backup start.",
			Runbook: "troubleshooting.md#nothing-is-backed-up",
		},
		{
			Name: "RecoveryStuck", Severity: Page, For: 5 * time.Minute,
			Expr:    `sum by (stage) (millrace_recover_waiting) > 0`,
			Summary: "A recovery waits in its stage {{ $labels.stage }}",
			Description: "{{ $value }} calls of a recovery or replay get no further in {{ $labels.stage }}: Elasticsearch, S3 or the snapshot repository " +
				"refuses. It retries for as long as it takes. starter recover status prints the error.",
			Runbook: "troubleshooting.md#a-recovery-is-stuck",
		},
	},
}

var audits = Group{
	Name: "audits",
	Alerts: []Alert{
		{
			Name: "RecordsMissing", Severity: Page,
			// A later run may choose other objects, so that one is no all-clear.
			Expr:    `sum(increase(millrace_residual_records_total[6h])) > 0`,
			Summary: "Records are lost: an audit of the backup found them nowhere",
			Description: "{{ $value | humanize }} records that processing has passed are in neither index nor ledger nor an open batch. The backup has them. " +
				"starter audit status names some; starter replay brings them back.",
			Runbook: "troubleshooting.md#records-are-missing",
		},
		{
			Name: "AuditOld", Severity: Ticket, For: 5 * time.Minute,
			// Whichever worker ran it; a worker that restarts forgets the time.
			Expr:        `time() - max(max_over_time(millrace_audit_last_run_timestamp_seconds[1d:5m])) > 1h`,
			Summary:     "The last audit of the backup was {{ $value | humanizeDuration }} ago",
			Description: "Lost records would not be noticed. Audits fail, wait, or are skipped because a recovery is open: starter audit status says which.",
			Runbook:     "troubleshooting.md#audits-are-old-or-missing",
		},
		{
			Name: "AuditsNotRun", Severity: Ticket, For: 2 * time.Hour,
			Expr:        `absent(max_over_time(millrace_audit_last_run_timestamp_seconds[1d:5m]))`,
			Summary:     "No worker has audited the backup",
			Description: "There is no schedule, or no worker polls its task queue. starter audit schedule makes the schedule. Remove this alert where the sink is files.",
			Runbook:     "troubleshooting.md#audits-are-old-or-missing",
		},
	},
}

var snapshots = Group{
	Name: "snapshots",
	Alerts: []Alert{
		{
			Name: "SnapshotOld", Severity: Ticket, For: 5 * time.Minute,
			// The latest one, whichever worker took it; two intervals of an hour.
			Expr:    `time() - max by (repository) (millrace_snapshot_last_success_timestamp_seconds) > 2h`,
			Summary: "The last good snapshot in {{ $labels.repository }} is {{ $value | humanizeDuration }} old",
			Description: "A recovery would have to index that much again from the backup. starter snapshot list shows the last runs of " +
				"{{ $labels.repository }}, and the failed SnapshotIndex says why.",
			Runbook: "troubleshooting.md#snapshots-fail-or-are-missing",
		},
		{
			Name: "SnapshotsNotTaken", Severity: Ticket, For: 2 * time.Hour,
			Expr:        `absent(millrace_snapshot_last_success_timestamp_seconds)`,
			Summary:     "No worker has taken a snapshot",
			Description: "There is no schedule, or no worker polls its task queue. starter snapshot schedule makes the schedule.",
			Runbook:     "troubleshooting.md#snapshots-fail-or-are-missing",
		},
		{
			Name: "SnapshotFailed", Severity: Ticket,
			Expr:        `sum by (result) (increase(millrace_snapshots_total{result!="success"}[2h])) > 0`,
			Summary:     "A snapshot is {{ $labels.result }}",
			Description: "A recovery will not use it. A suspect one lacks an index, or documents, that the one before had: starter snapshot list says which ({{ $labels.result }}).",
			Runbook:     "troubleshooting.md#snapshots-fail-or-are-missing",
		},
		{
			Name: "DrillFailed", Severity: Ticket,
			Expr:        `sum by (result) (increase(millrace_drills_total{result!="complete"}[1h])) > 0`,
			Summary:     "A recovery drill is {{ $labels.result }}: a disaster would lose records",
			Description: "The drill ended as {{ $labels.result }}. starter drill status names what it found missing. Take a snapshot while the indices still have it.",
			Runbook:     "troubleshooting.md#a-drill-is-incomplete",
		},
		{
			Name: "DrillOld", Severity: Ticket,
			// Two intervals of a week, where there is a schedule; a worker that restarts forgets the time.
			Expr:        `time() - max(max_over_time(millrace_drill_last_success_timestamp_seconds[20d:1h])) > 15d`,
			Summary:     "No drill has been complete for {{ $value | humanizeDuration }}",
			Description: "Nothing proves that a recovery would work. starter drill status shows the last one; starter drill run starts another.",
			Runbook:     "troubleshooting.md#a-drill-is-incomplete",
		},
		{
			Name: "RetentionKeepsIndices", Severity: Ticket, For: 2 * 24 * time.Hour,
			// Retention runs in any worker once a day, and each keeps what it saw: only the last run counts.
			Expr: `
max by (of) (
  millrace_retention_indices_uncovered
  and on (instance, of)
  topk by (of) (1, millrace_retention_last_run_timestamp_seconds)
) > 0`,
			Summary: "{{ $value }} old indices stay, since nothing else has their documents",
			Description: "Neither a good snapshot nor the backup covers them (deletion of {{ $labels.of }}), so the disk fills. starter retention run --dry-run " +
				"with the days of the schedule names them and the gap.",
			Runbook: "troubleshooting.md#old-indices-stay",
		},
	},
}
