package observability

import "time"

// Gauges of a shard are those of the worker that has it, which takes them away when it lets go of the shard; one that is
// killed is no longer scraped. Two workers may report a shard for some seconds: hence the maximum by shard.

// checkpoint is the record that remembers when a shard was last known to be read up to. A shard that is held has no
// worker, and nothing reports its lag: its checkpoint stands still, so its lag is the time since then.
const checkpoint = "stage_shard:millrace_checkpoint_timestamp_seconds:last"

// lag is the record of the present lag of each shard, held or not.
const lag = "stage_shard:millrace_lag_seconds:last"

// remember records the checkpoints of a stage from what its workers report, and keeps the last ones of shards that the
// stage still has, and has not drained. It reaches back an hour in case Prometheus itself was away.
func remember(stage, metric string) []Record {
	labels, of := map[string]string{"stage": stage}, `{stage="`+stage+`"}`
	return []Record{
		{Name: checkpoint, Labels: labels, Expr: `
max by (shard) (timestamp(` + metric + `) - ` + metric + `)
or
(
  max by (shard) (last_over_time(` + checkpoint + of + `[1h]))
  and on (shard)
  max by (shard) (max_over_time(millrace_shard_state{stage="` + stage + `", state!="drained"}[2m]))
)`},
		{Name: lag, Labels: labels, Expr: "time() - " + checkpoint + of},
	}
}

var shards = Group{
	Name:    "shards",
	Records: append(remember("process", "millrace_process_lag_seconds"), remember("backup", "millrace_backup_lag_seconds")...),
	Alerts: []Alert{
		{
			Name: "ShardWaiting", Severity: Page, For: 2 * time.Minute,
			Expr:    `max by (shard) (millrace_process_waiting) == 1`,
			Labels:  process,
			Summary: "Shard {{ $labels.shard }} cannot make progress",
			Description: "Something refuses the next records of shard {{ $labels.shard }}: most often Elasticsearch, or S3. Nothing is lost, " +
				"and all its records are late. starter shard show {{ $labels.shard }} prints the error.",
			Runbook: "troubleshooting.md#a-shard-is-waiting",
		},
		{
			Name: "ShardTripped", Severity: Page, For: 2 * time.Minute,
			Expr:    `max by (stage, shard) (max_over_time(millrace_shard_state{state="tripped"}[1m])) == 1`,
			Summary: "Shard {{ $labels.shard }} has stopped, since most of its tenants send bad records",
			Description: "A deployment or a mapping is more likely at fault than the records of shard {{ $labels.shard }} (stage {{ $labels.stage }}). " +
				"It falls behind until the cause is gone. starter shard show {{ $labels.shard }} prints the cause.",
			Runbook: "troubleshooting.md#a-shard-is-tripped",
		},
		{
			Name: "ShardHeld", Severity: Info,
			Expr:        `max by (stage, shard) (max_over_time(millrace_shard_state{state="paused"}[1m])) == 1`,
			Summary:     "Shard {{ $labels.shard }} is paused",
			Description: "An operator or a recovery holds shard {{ $labels.shard }} (stage {{ $labels.stage }}). starter shard show {{ $labels.shard }} prints who, why, and until when.",
			Runbook:     "troubleshooting.md#a-shard-is-paused",
		},
		{
			Name: "ShardHeldForLong", Severity: Ticket, For: 30 * time.Minute,
			Expr:    `max by (stage, shard) (max_over_time(millrace_shard_state{state="paused"}[1m])) == 1`,
			Summary: "Shard {{ $labels.shard }} has been paused for half an hour",
			Description: "Shard {{ $labels.shard }} (stage {{ $labels.stage }}) falls behind while it is held. starter shard show {{ $labels.shard }} " +
				"prints who holds it; starter shard resume {{ $labels.shard }} ends it.",
			Runbook: "troubleshooting.md#a-shard-is-paused",
		},
		{
			Name: "ShardClosed", Severity: Page, For: 5 * time.Minute,
			Expr:    `max by (stage, shard) (max_over_time(millrace_shard_state{state="closed"}[1m])) == 1`,
			Summary: "The workflow of shard {{ $labels.shard }} does not start again",
			Description: "The workflow of shard {{ $labels.shard }} (stage {{ $labels.stage }}) was canceled or terminated, or fails. " +
				"Its stream's workflow restarts it within seconds, and has not for five minutes. starter shards shows the rest.",
			Runbook: "troubleshooting.md#a-shard-is-closed",
		},
		{
			Name: "ShardLags", Severity: Ticket, For: 10 * time.Minute,
			Expr:        lag + `{stage="process"} > 5m`,
			Summary:     "Shard {{ $labels.shard }} is {{ $value | humanizeDuration }} behind",
			Description: "More arrives at shard {{ $labels.shard }} (stage {{ $labels.stage }}) than is indexed, or it is not read at all. starter shards compares it with the others.",
			Runbook:     "troubleshooting.md#lag-grows-and-no-shard-is-waiting",
		},
		nearsRetention("ShardNearsRetention", "process", "Unread records are trimmed from the stream soon, and are then only in the backup"),
		{
			Name: "NothingIsProcessed", Severity: Page, For: 10 * time.Minute,
			Expr:   `absent(millrace_process_lag_seconds) unless on () max(millrace_shard_state{stage="process", state="paused"})`,
			Labels: process, Summary: "No worker processes any shard",
			Description: "Processing was stopped, or no worker with a free slot polls the task queue millrace-index. Records wait in the stream. " +
				"starter process status, and starter shards, say which.",
			Runbook: "troubleshooting.md#nothing-is-processed",
		},
		{
			Name: "TenantsOffend", Severity: Ticket, For: 15 * time.Minute,
			Expr: `max by (shard) (max_over_time(millrace_process_offenders[10m])) > 0`, Labels: process, // one may post every few minutes
			Summary: "Shard {{ $labels.shard }} has {{ $value }} tenants that send mostly bad records",
			Description: "Their records go to the ledger, and cost other tenants nothing. starter shards names the tenants of shard {{ $labels.shard }}: " +
				"tell them, or fix the mapping.",
			Runbook: "dead-letters.md#offenders-tenants-that-send-poison",
		},
		{
			Name: "BatchesHeldForLong", Severity: Ticket, For: 5 * time.Minute,
			Expr: `max by (stream) (millrace_batch_copies) > 0`, Labels: process,
			Summary: "Batches of stream {{ $labels.stream }} have waited for half of its retention",
			Description: "ProcessBatch workflows of stream {{ $labels.stream }} hold {{ $value }} ranges. The ledger has copies, so nothing is lost. " +
				"starter batch list, and starter batch show, say why they wait.",
			Runbook: "troubleshooting.md#batches-wait-for-long",
		},
		{
			Name: "IdsInConflict", Severity: Ticket,
			Expr: `sum(increase(millrace_process_records_total{outcome="conflict"}[1h])) > 0`, Labels: process,
			Summary: "An agent gives one id to different records",
			Description: "{{ $value | humanize }} records within an hour have the id of an indexed document with other content. The document stays, and " +
				"only the backup has the record. The workers' logs name doc_id, index and tenant.",
			Runbook: "troubleshooting.md#records-are-in-conflict",
		},
	},
}

// process are the labels of alerts on processing that take no stage from their series.
var process = map[string]string{"stage": "process"}

func nearsRetention(alert, stage, cost string) Alert {
	return Alert{
		Name: alert, Severity: Page, For: 5 * time.Minute,
		Expr:    lag + `{stage="` + stage + `"} > 0.5 * scalar(max(millrace_stream_retention_seconds > 0))`,
		Summary: "Shard {{ $labels.shard }} ({{ $labels.stage }}) is behind by half of the stream's retention",
		Description: "Shard {{ $labels.shard }} is {{ $value | humanizeDuration }} behind in stage {{ $labels.stage }}. " + cost +
			". Extend the retention first, then mend the cause: starter shard show {{ $labels.shard }}.",
		Runbook: "troubleshooting.md#lag-nears-the-streams-retention",
	}
}
