package observability

// rate is a query of a counter's increase in a second, by labels.
func rate(metric, by, legend string) Query {
	sum := "sum"
	if by != "" {
		sum += " by (" + by + ")"
	}
	return Query{sum + "(rate(" + metric + "[$__rate_interval]))", legend}
}

// quantiles are the median and the 99th percentile of a histogram, by a label or none.
func quantiles(metric, by string) []Query {
	labels, legend := "le", ""
	if by != "" {
		labels, legend = "le, "+by, " {{"+by+"}}"
	}
	quantile := func(q, name string) Query {
		return Query{"histogram_quantile(" + q + ", sum by (" + labels + ") (rate(" + metric + "_bucket[$__rate_interval])))", name + legend}
	}
	return []Query{quantile("0.5", "p50"), quantile("0.99", "p99")}
}

var overviewBoard = Dashboard{
	ID: "overview", Title: "overview", Description: "Is all well, and if not, where to look.",
	Rows: []Row{
		{"Now", []Panel{
			{
				Title: "Alerts", Description: "Alerts that fire, without those of severity info.", Unit: Count, Kind: Figure,
				Queries: []Query{{`count(ALERTS{alertstate="firing", alertname!="", severity=~"page|ticket"}) or vector(0)`, "firing"}},
				Runbook: "observing.md#alerts",
			},
			{
				Title: "Delay", Description: "Time from the receipt of a record to its index, of the last five minutes: median, and 99th percentile.",
				Unit: Seconds, Kind: Figure, Queries: quantiles("millrace_delay_seconds", ""), Runbook: "troubleshooting.md#records-are-late",
			},
			{
				Title: "Largest lag", Description: "Age of the oldest checkpoint of all shards, also of those that are held.", Unit: Seconds, Kind: Figure,
				Queries: []Query{{"max by (stage) (" + lag + ")", "{{stage}}"}}, Runbook: "troubleshooting.md#lag-grows-and-no-shard-is-waiting",
			},
		}},
		{"Service levels", []Panel{
			{
				Title:       "Delay budget",
				Description: "How many times too fast the budget burns: 1 % of the records may take longer than 2.5 s. The alerts page at 14.4 and 6.",
				Unit:        Times, Kind: Graph, Queries: burn("millrace:delay_slow:ratio_rate", "0.01"), Runbook: "troubleshooting.md#records-are-late",
			},
			{
				Title:       "Ingest budget",
				Description: "How many times too fast the budget burns: 0.1 % of the records may be answered with 503. The alerts page at 14.4 and 6.",
				Unit:        Times, Kind: Graph, Queries: burn("millrace:ingest_unavailable:ratio_rate", "0.001"),
				Runbook: "troubleshooting.md#agents-are-turned-away",
			},
			{
				Title: "Possible losses", Description: "Ranges of the stream that were trimmed before processing or the backup had read them. Above 0, act.",
				Unit: Count, Kind: Graph, Runbook: "troubleshooting.md#records-were-trimmed-unread",
				Queries: []Query{{"sum(increase(millrace_process_losses_total[1h]))", "processing"}, {"sum(increase(millrace_backup_losses_total[1h]))", "backup"},
					{"sum(increase(millrace_ingest_unreadable_runs_total[1h]))", "unreadable runs"}},
			},
		}},
		{"Canary", []Panel{
			{
				Title: "Availability", Description: "Share of the canary's records of the last hour that could be searched in time, by region.", Unit: Share, Kind: Figure,
				Queries: []Query{{"1 - " + canaryBudget + "1h", "{{region}}"}}, Runbook: "troubleshooting.md#the-canary-fails",
			},
			{
				Title: "Time until searchable", Description: "From the canary's post to a collector until a search finds its record, refresh of the index included.",
				Unit: Seconds, Kind: Graph, Queries: quantiles("millrace_canary_searchable_seconds", "region"), Runbook: "troubleshooting.md#the-canary-is-slow",
			},
			{
				Title: "Canary budget", Description: "How many times too fast the budget burns: 0.1 % of the canary's records may fail. The alerts page at 14.4 and 6.",
				Unit: Times, Kind: Graph, Queries: ofRegions(burn(canaryBudget, "0.001")), Runbook: "troubleshooting.md#the-canary-fails",
			},
		}},
		{"Flow", []Panel{
			{
				Title: "Records", Description: "Records accepted by collectors, and what became of records.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate(`millrace_api_records_total{result="accepted"}`, "", "accepted"), rate("millrace_process_records_total", "outcome", "{{outcome}}")},
			},
			{
				Title: "Delay over time", Description: "From receipt to index, of every record.", Unit: Seconds, Kind: Graph,
				Queries: append(quantiles("millrace_delay_seconds", ""),
					Query{"sum(rate(millrace_delay_seconds_sum[$__rate_interval])) / sum(rate(millrace_delay_seconds_count[$__rate_interval]))", "average"}),
				Runbook: "troubleshooting.md#records-are-late",
			},
			{
				Title: "Delay by region", Description: "From receipt to index, by the region of the collector.", Unit: Seconds, Kind: Graph,
				Queries: quantiles("millrace_region_delay_seconds", "region"), Runbook: "troubleshooting.md#records-are-late",
			},
			{
				Title: "Lag of the slowest shards", Description: "Age of the checkpoint, of the five shards that are furthest behind in each stage.",
				Unit: Seconds, Kind: Graph, Queries: []Query{{"topk by (stage) (5, " + lag + ")", "{{stage}} {{shard}}"}},
				Runbook: "troubleshooting.md#lag-grows-and-no-shard-is-waiting",
			},
		}},
		{"Processes", []Panel{
			{
				Title: "Targets", Description: "Collectors and workers that answer Prometheus.", Unit: Count, Kind: Graph,
				Queries: []Query{{`sum by (job) (up{job=~"millrace-.*"})`, "{{job}}"}}, Runbook: "troubleshooting.md#a-process-is-down",
			},
			{
				Title: "Missing dependencies", Description: "What /readyz of each process names as missing or degraded.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum by (job, dependency) (millrace_dependency_missing)", "{{job}} {{dependency}}"}},
				Runbook: "troubleshooting.md#a-dependency-is-missing",
			},
			{
				Title: "Memory", Description: "Resident memory of each process.", Unit: Bytes, Kind: Graph,
				Queries: []Query{{`process_resident_memory_bytes{job=~"millrace-.*"}`, "{{job}} {{instance}}"}},
			},
			{
				Title: "CPU", Description: "Processors that each process keeps busy.", Unit: Count, Kind: Graph,
				Queries: []Query{{`rate(process_cpu_seconds_total{job=~"millrace-.*"}[$__rate_interval])`, "{{job}} {{instance}}"}},
			},
		}},
	},
}

// burn is how many times too fast a budget burns, by window.
func burn(record, share string) (all []Query) {
	for _, w := range sloWindows {
		all = append(all, Query{record + w + " / " + share, w})
	}
	return all
}

// ofRegions has the legends of some queries name the region, too.
func ofRegions(all []Query) []Query {
	for i := range all {
		all[i].Legend = "{{region}} " + all[i].Legend
	}
	return all
}

var shardBoard = Dashboard{
	ID: "shard", Title: "shard", Description: "One shard, or some: how far it is, and what holds it up.", Shard: true,
	Rows: []Row{
		{"Processing", []Panel{
			{
				Title: "Lag", Description: "Age of the checkpoint. It grows while the shard is held, and no worker has it.", Unit: Seconds, Kind: Graph,
				Queries: []Query{{lag + `{stage="process", shard=~"$shard"}`, "{{shard}}"}}, Runbook: "troubleshooting.md#lag-grows-and-no-shard-is-waiting",
			},
			{
				Title: "State", Description: "1 for the present state of each shard and stage: running, waiting, paused, tripped, blocked, drained or closed.",
				Unit: Count, Kind: States, Queries: []Query{{`max by (stage, shard, state) (millrace_shard_state{shard=~"$shard"})`, "{{stage}} {{shard}} {{state}}"}},
				Runbook: "operating.md#what-the-states-mean",
			},
			{
				Title: "Waiting", Description: "1 while the shard cannot make progress: in processing, or in the backup.", Unit: Count, Kind: Graph,
				Queries: []Query{{`max by (shard) (millrace_process_waiting{shard=~"$shard"})`, "process {{shard}}"},
					{`max by (shard) (millrace_backup_waiting{shard=~"$shard"})`, "backup {{shard}}"}},
				Runbook: "troubleshooting.md#a-shard-is-waiting",
			},
			{
				Title: "Offenders", Description: "Tenants whose records are mostly rejected. starter shards names them.", Unit: Count, Kind: Graph,
				Queries: []Query{{`max by (shard) (millrace_process_offenders{shard=~"$shard"})`, "{{shard}}"}},
				Runbook: "dead-letters.md#offenders-tenants-that-send-poison",
			},
			{
				Title: "Share of the retention", Description: "Lag as a share of what the stream keeps. At 1, unread records are trimmed.", Unit: Share, Kind: Graph,
				Queries: []Query{{lag + `{shard=~"$shard"} / on () group_left () max(millrace_stream_retention_seconds)`, "{{stage}} {{shard}}"}},
				Runbook: "troubleshooting.md#lag-nears-the-streams-retention",
			},
		}},
		{"Backup", []Panel{
			{
				Title: "Lag of the backup", Description: "Age of the oldest record that is not in the backup. Up to --backup-within is normal.", Unit: Seconds, Kind: Graph,
				Queries: []Query{{lag + `{stage="backup", shard=~"$shard"}`, "{{shard}}"}}, Runbook: "troubleshooting.md#the-backup-is-behind-or-waiting",
			},
			{
				Title: "Held for the backup", Description: "Bytes of records that are read and not yet written.", Unit: Bytes, Kind: Graph,
				Queries: []Query{{`max by (shard) (millrace_backup_held_bytes{shard=~"$shard"})`, "{{shard}}"}},
			},
		}},
		{"Reads of all shards", []Panel{
			{
				Title: "Calls", Description: "Calls and subscription events that read shards, by result.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_stream_read_calls_total", "result", "{{result}}")}, Runbook: "troubleshooting.md#a-shard-is-waiting",
			},
			{
				Title: "Bytes", Description: "Bytes of records read, by processing and backup together. A shard allows 2 MiB a second for both.",
				Unit: BytesPerSecond, Kind: Graph, Queries: []Query{rate("millrace_stream_read_bytes_total", "", "read")},
			},
			{
				Title: "Records", Description: "Records read, by processing and backup together.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_stream_read_records_total", "", "read")},
			},
			{
				Title: "Waits", Description: "Time in each second for which reads waited for the budget of their shard, summed over shards.", Unit: Seconds, Kind: Graph,
				Queries: []Query{rate("millrace_stream_read_wait_seconds_total", "", "waited")},
			},
			{
				Title: "Possible losses", Description: "Readers that found records after their checkpoint trimmed.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum(increase(millrace_stream_possible_losses_total[1h]))", "readers"}}, Runbook: "troubleshooting.md#records-were-trimmed-unread",
			},
		}},
	},
}
