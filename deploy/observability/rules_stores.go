package observability

import "time"

var elasticsearch = Group{
	Name: "elasticsearch",
	Alerts: []Alert{
		{
			Name: "ElasticsearchIsTheLimit", Severity: Ticket, For: 15 * time.Minute,
			Expr:        `sum(avg_over_time(millrace_index_requests_waiting[5m])) > 1`,
			Summary:     "Elasticsearch takes less than arrives",
			Description: "{{ $value | humanize }} bulk requests wait for their turn. Lag grows until less arrives, or the cluster has more nodes or shards. starter shards shows the lag.",
			Runbook:     "troubleshooting.md#elasticsearch-is-the-limit",
		},
		{
			Name: "ElasticsearchBacksOff", Severity: Ticket, For: 10 * time.Minute,
			// A worker starts with 4, and only failures bring it below; one that sends nothing stays where it was.
			Expr: `
max by (instance) (max_over_time(millrace_index_concurrency_limit[5m])) < 4
and
sum by (instance) (rate(millrace_index_request_bytes_total[5m])) > 0`,
			Summary: "Worker {{ $labels.instance }} sends Elasticsearch few requests at once",
			Description: "Elasticsearch answers worker {{ $labels.instance }} with 429, 5xx or not at all, and the worker has come down to {{ $value | humanize }} " +
				"requests at once. Nothing is lost. Give the cluster rest if it needs it: starter stream pause --for 30m.",
			Runbook: "troubleshooting.md#elasticsearch-is-overloaded",
		},
		{
			Name: "ElasticsearchFails", Severity: Ticket, For: 5 * time.Minute,
			Expr: `
sum(rate(millrace_index_request_seconds_count{class!="indexed"}[5m]))
/ (sum(rate(millrace_index_request_seconds_count[5m])) > 0) > 0.1`,
			Summary: "{{ $value | humanizePercentage }} of the bulk requests fail as a whole",
			Description: "Elasticsearch is away, overloaded, or refuses the credentials. Workers retry for as long as it takes. " +
				"starter shard show of any waiting shard prints the answer.",
			Runbook: "troubleshooting.md#elasticsearch-is-overloaded",
		},
		{
			Name: "ElasticsearchShardLimit", Severity: Ticket, For: 5 * time.Minute,
			// A cluster that does not answer does not say how many it uses.
			Expr: `
max(
  millrace_dependency_missing{dependency="shards"}
  unless on (job, instance)
  millrace_dependency_missing{dependency="elasticsearch"} == 1
) == 1`,
			Summary: "The cluster uses nine tenths of the shards that it may have",
			Description: "At the limit Elasticsearch makes no index, so every shard of the stream waits at midnight. " +
				"Delete old indices, raise cluster.max_shards_per_node, or add nodes. /readyz of a worker has the numbers.",
			Runbook: "troubleshooting.md#the-cluster-is-at-its-shard-limit",
		},
	},
}

var deadLetters = Group{
	Name: "dead-letters",
	Alerts: []Alert{
		{
			Name: "DeadLettersRise", Severity: Ticket, For: 10 * time.Minute,
			// What is parked comes home: RecordsParked is about it.
			Expr: `
(sum(rate(millrace_process_records_total{outcome="dead_letter"}[10m])) - (sum(rate(millrace_process_parked_records_total[10m])) or vector(0)))
/ (sum(rate(millrace_process_records_total[10m])) > 0) > 0.001`,
			Summary: "{{ $value | humanizePercentage }} of the records are given up",
			Description: "Elasticsearch refuses them for good; most often a field has the wrong type. The ledger keeps them with the exact error. " +
				"starter dlq list groups them by error.",
			Runbook: "troubleshooting.md#records-are-in-the-ledger",
		},
		{
			Name: "DeadLettersUntold", Severity: Ticket, For: 15 * time.Minute,
			Expr:    `max by (stream) (millrace_ledger_untold_entries) > 0`,
			Summary: "The dead-letter queue does not take {{ $value }} messages",
			Description: "The ledger has the records of stream {{ $labels.stream }}, and the message about them is sent again every 15 s. " +
				"Consumers of the queue miss it until then. Check the queue and its permissions.",
			Runbook: "troubleshooting.md#dead-letters-are-untold",
		},
		{
			Name: "RecordsParked", Severity: Ticket,
			Expr:    `sum(increase(millrace_process_parked_records_total[15m])) > 0`,
			Summary: "An index takes no writes, and its records are parked",
			Description: "{{ $value | humanize }} records within 15 minutes belong to an index that is closed or blocked. Others are indexed as ever. " +
				"starter parked list names the index; open it, and they are indexed.",
			Runbook: "troubleshooting.md#records-are-parked",
		},
		{
			Name: "DeadLettersUnreadable", Severity: Ticket, For: 15 * time.Minute,
			Expr:    `max(millrace_dead_letters_unreadable) > 0`,
			Summary: "{{ $value }} messages of the dead-letter queue cannot be read",
			Description: "Another program sends to the queue, or records are gone that a message points to. They stay in the queue until SQS deletes " +
				"them after 14 days. starter letters status lists them.",
			Runbook: "troubleshooting.md#dead-letters-cannot-be-read",
		},
	},
}
