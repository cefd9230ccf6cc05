package observability

const (
	noSnapshot  = "no snapshot is taken within the load"
	noDrill     = "no drill is run within the load"
	noAudit     = "no audit is run within the load"
	noRecovery  = "no recovery or replay runs within the load"
	noRetention = "retention does not run within the load"
)

var backupBoard = Dashboard{
	ID: "backup", Title: "backup and recovery", Description: "Would a recovery work, and how far is one that runs?",
	Rows: []Row{
		{"Backup", []Panel{
			{
				Title: "Records", Description: "Records written to the backup.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_backup_records_total", "", "written")},
			},
			{
				Title: "Bytes", Description: "Bytes of records, before compression, and of the objects that hold them.", Unit: BytesPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_backup_bytes_total", "", "records"), rate("millrace_backup_stored_bytes_total", "", "objects")},
			},
			{
				Title: "Objects", Description: "Objects written, or adopted after a takeover or a lost answer.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_backup_objects_total", "how", "{{how}}")},
			},
			{
				Title: "Lag", Description: "Age of the oldest record of each shard that is not in the backup.", Unit: Seconds, Kind: Graph,
				Queries: []Query{{lag + `{stage="backup"}`, "{{shard}}"}}, Runbook: "troubleshooting.md#the-backup-is-behind-or-waiting",
			},
			{
				Title: "Waiting", Description: "Shards whose backup cannot make progress.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum(max by (shard) (millrace_backup_waiting))", "shards"}}, Runbook: "troubleshooting.md#the-backup-is-behind-or-waiting",
			},
			{
				Title: "Losses", Description: "Ranges that were trimmed before the backup read them.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum(increase(millrace_backup_losses_total[1h]))", "ranges"}}, Runbook: "troubleshooting.md#the-backup-lacks-records",
			},
		}},
		{"Audits", []Panel{
			{
				Title: "Residual", Description: "Audited records of the last day that are in neither index nor ledger nor an open batch: lost ones.", Unit: Count, Kind: Figure,
				Queries: []Query{{"sum(increase(millrace_residual_records_total[1d]))", "records"}}, Runbook: "troubleshooting.md#records-are-missing",
			},
			{
				Title: "Records audited", Description: "Records of the backup that an audit has looked for.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_audited_records_total", "", "audited")}, Runbook: "troubleshooting.md#audits-are-old-or-missing",
			},
			{
				Title: "Age of the last audit", Description: "Since one went through its sample. A worker that restarts forgets it until the next one.", Unit: Seconds, Kind: Figure,
				Queries: []Query{{"time() - max(max_over_time(millrace_audit_last_run_timestamp_seconds[1d:5m]))", "age"}},
				Runbook: "troubleshooting.md#audits-are-old-or-missing", Empty: noAudit,
			},
		}},
		{"Snapshots and drills", []Panel{
			{
				Title: "Age of the last good snapshot", Description: "By repository. A recovery indexes again from the backup what came since.", Unit: Seconds, Kind: Graph,
				Queries: []Query{{"time() - max by (repository) (millrace_snapshot_last_success_timestamp_seconds)", "{{repository}}"}},
				Runbook: "troubleshooting.md#snapshots-fail-or-are-missing", Empty: noSnapshot,
			},
			{
				Title: "Duration of a snapshot", Description: "Of the last one in each repository.", Unit: Seconds, Kind: Graph,
				Queries: []Query{{"max by (repository) (millrace_snapshot_duration_seconds)", "{{repository}}"}}, Empty: noSnapshot,
			},
			{
				Title: "Snapshots", Description: "Within an hour, by result.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum by (result) (increase(millrace_snapshots_total[1h]))", "{{result}}"}}, Runbook: "troubleshooting.md#snapshots-fail-or-are-missing",
			},
			{
				Title: "Age of the last complete drill", Description: "A worker that restarts forgets it until the next one.", Unit: Seconds, Kind: Figure,
				Queries: []Query{{"time() - max(max_over_time(millrace_drill_last_success_timestamp_seconds[20d:1h]))", "age"}},
				Runbook: "troubleshooting.md#a-drill-is-incomplete", Empty: noDrill,
			},
			{
				Title: "Drills", Description: "Within a day, by result.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum by (result) (increase(millrace_drills_total[1d]))", "{{result}}"}}, Runbook: "troubleshooting.md#a-drill-is-incomplete",
			},
		}},
		{"Recovery", []Panel{
			{
				Title: "Records", Description: "Records of the backup that a recovery or replay has processed, by stage.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_recover_records_total", "stage", "{{stage}}")}, Runbook: "recovery.md", Empty: noRecovery,
			},
			{
				Title: "Waiting", Description: "Calls of a recovery that have waited for the same thing for more than 20 seconds, by stage.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum by (stage) (millrace_recover_waiting)", "{{stage}}"}}, Runbook: "troubleshooting.md#a-recovery-is-stuck",
			},
		}},
		{"Retention", []Panel{
			{
				Title: "Indices deleted", Description: "Indices that retention deleted whole, within a day.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum(increase(millrace_retention_indices_deleted_total[1d]))", "indices"}},
			},
			{
				Title: "Documents deleted", Description: "Documents that retention deleted from yearly and undated indices, within a day.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum(increase(millrace_retention_documents_deleted_total[1d]))", "documents"}},
			},
			{
				Title: "Indices kept", Description: "Old indices that stay because neither a good snapshot nor the backup has their documents.", Unit: Count, Kind: Graph,
				Queries: []Query{{"max by (of) (millrace_retention_indices_uncovered and on (instance, of) topk by (of) (1, millrace_retention_last_run_timestamp_seconds))", "{{of}}"}},
				Runbook: "troubleshooting.md#old-indices-stay", Empty: noRetention,
			},
		}},
	},
}
