package observability

var elasticsearchBoard = Dashboard{
	ID: "elasticsearch", Title: "Elasticsearch", Description: "Bulk requests, how far workers have backed off, and deduplication.",
	Rows: []Row{
		{"Bulk requests", []Panel{
			{
				Title: "Requests", Description: "Bulk requests by the class of their outcome as a whole.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_index_request_seconds_count", "class", "{{class}}")}, Runbook: "troubleshooting.md#elasticsearch-is-overloaded",
			},
			{
				Title: "Time of a request", Description: "Of all bulk requests.", Unit: Seconds, Kind: Graph, Queries: quantiles("millrace_index_request_seconds", ""),
			},
			{
				Title: "Documents", Description: "Documents answered, by class; duplicate: indexed earlier.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_index_documents_total", "class", "{{class}}")}, Runbook: "troubleshooting.md#records-are-in-the-ledger",
			},
			{
				Title: "Bytes", Description: "Bytes of bulk requests.", Unit: BytesPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_index_request_bytes_total", "", "sent")},
			},
			{
				Title: "Size of a request", Description: "Average bytes of a bulk request. Small ones under load mean that workers have backed off.", Unit: Bytes, Kind: Graph,
				Queries: []Query{{"sum(rate(millrace_index_request_bytes_total[$__rate_interval])) / sum(rate(millrace_index_request_seconds_count[$__rate_interval]))", "average"}},
			},
		}},
		{"Back-off", []Panel{
			{
				Title: "Requests at once", Description: "Limit of bulk requests in flight of each worker. It starts with 4; failures bring it down to 1.", Unit: Count, Kind: Graph,
				Queries: []Query{{`min by (instance) (millrace_index_concurrency_limit{job="` + WorkerJob + `"})`, "{{instance}}"}},
				Runbook: "troubleshooting.md#elasticsearch-is-overloaded",
			},
			{
				Title: "Largest bulk", Description: "Limit of the bytes of a bulk request of each worker. It shrinks once only one request is let through.", Unit: Bytes, Kind: Graph,
				Queries: []Query{{`min by (instance) (millrace_index_bulk_bytes_limit{job="` + WorkerJob + `"})`, "{{instance}}"}},
				Runbook: "troubleshooting.md#elasticsearch-is-overloaded",
			},
			{
				Title: "In flight", Description: "Bulk requests in flight, by priority.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum by (priority) (millrace_index_requests_in_flight)", "{{priority}}"}},
			},
			{
				Title: "Waiting", Description: "Bulk requests that wait for their turn. Above 0, Elasticsearch is the limit.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum by (priority) (millrace_index_requests_waiting)", "{{priority}}"}}, Runbook: "troubleshooting.md#elasticsearch-is-the-limit",
			},
			{
				Title: "Shard limit", Description: "1 while the cluster uses nine tenths of the shards that it may have.", Unit: Count, Kind: Figure,
				Queries: []Query{{`max(millrace_dependency_missing{dependency="shards"})`, "near the limit"}},
				Runbook: "troubleshooting.md#the-cluster-is-at-its-shard-limit",
			},
		}},
		{"Deduplication", []Panel{
			{
				Title: "Hits and evictions", Description: "Records whose id was in the cache, and ids evicted because it was full.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_dedup_hits_total", "", "hits"), rate("millrace_dedup_evictions_total", "", "evictions")},
			},
			{
				Title: "Ids", Description: "Document ids in the cache of each worker.", Unit: Count, Kind: Graph,
				Queries: []Query{{"millrace_dedup_ids", "{{instance}}"}},
			},
			{
				Title:       "Duplicates",
				Description: "Records whose id was indexed already: the same, with other content (conflict), or not compared (unchecked).", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate(`millrace_process_records_total{outcome=~"duplicate|conflict|unchecked"}`, "outcome", "{{outcome}}")},
				Runbook: "troubleshooting.md#records-are-in-conflict",
			},
			{
				Title: "Lookups given up", Description: "Bulks indexed without looking for an earlier document in an unavailable index.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_process_lookups_given_up_total", "", "given up")},
			},
			{
				Title: "Clocks", Description: "Records received, by the collector's clock, after they were indexed. Above 0, clocks differ.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_delay_negative_total", "", "from the future")},
			},
		}},
	},
}

var deadLettersBoard = Dashboard{
	ID: "dead-letters", Title: "dead letters", Description: "Records that were given up, parked, or wait in batches.",
	Rows: []Row{
		{"Given up", []Panel{
			{
				Title: "Dead letters", Description: "Records given up.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate(`millrace_process_records_total{outcome="dead_letter"}`, "", "given up")}, Runbook: "troubleshooting.md#records-are-in-the-ledger",
			},
			{
				Title: "Share", Description: "Dead letters as a share of all records processed. The alert fires at 0.1 %.", Unit: Share, Kind: Graph,
				Queries: []Query{{`sum(rate(millrace_process_records_total{outcome="dead_letter"}[$__rate_interval])) / sum(rate(millrace_process_records_total[$__rate_interval]))`, "share"}},
				Runbook: "troubleshooting.md#records-are-in-the-ledger",
			},
			{
				Title: "Offenders", Description: "Records of offenders, which go to the ledger in large entries.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_process_offender_records_total", "", "records")}, Runbook: "dead-letters.md#offenders-tenants-that-send-poison",
			},
			{
				Title: "Parked", Description: "Records whose index alone is closed or blocked for writes.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_process_parked_records_total", "", "parked")}, Runbook: "troubleshooting.md#records-are-parked",
			},
		}},
		{"Ledger and queue", []Panel{
			{
				Title: "Records of the ledger", Description: "Records written to the ledger, by kind of entry.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_ledger_records_added_total", "kind", "{{kind}}")},
			},
			{
				Title: "Entries of the ledger", Description: "Entries written to the ledger, by kind.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_ledger_entries_added_total", "kind", "{{kind}}")},
			},
			{
				Title: "Untold", Description: "Entries whose message the dead-letter queue has not accepted yet; and how many it rejected at first, a second.", Unit: Count, Kind: Graph,
				Queries: []Query{{"max by (stream) (millrace_ledger_untold_entries)", "now, {{stream}}"}, rate("millrace_ledger_untold_entries_total", "", "rejected a second")},
				Runbook: "troubleshooting.md#dead-letters-are-untold",
			},
			{
				Title: "Messages sent", Description: "Messages sent to the dead-letter queue, by result.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_queue_dead_letters_total", "result", "{{result}}")}, Runbook: "troubleshooting.md#dead-letters-are-untold",
			},
			{
				Title: "Messages received", Description: "Messages received from the dead-letter queue: letters, or unreadable.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_queue_received_dead_letters_total", "result", "{{result}}")},
			},
			{
				Title: "Unreadable", Description: "Messages of the dead-letter queue that cannot be read, and stay.", Unit: Count, Kind: Graph,
				Queries: []Query{{"max(millrace_dead_letters_unreadable)", "messages"}}, Runbook: "troubleshooting.md#dead-letters-cannot-be-read",
			},
		}},
		{"Ranges in doubt", []Panel{
			{
				Title: "Handed over", Description: "Records handed to ProcessBatch workflows, which bisect them.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate(`millrace_process_records_total{outcome="handed_over"}`, "", "records")}, Runbook: "troubleshooting.md#processbatch-workflows-accumulate",
			},
			{
				Title: "Batches", Description: "ProcessBatch workflows started.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_process_batches_started_total", "", "started")}, Runbook: "troubleshooting.md#processbatch-workflows-accumulate",
			},
			{
				Title: "Copies", Description: "Copies in the ledger of ranges that batches have held for half of the stream's retention.", Unit: Count, Kind: Graph,
				Queries: []Query{{"max by (stream) (millrace_batch_copies)", "{{stream}}"}}, Runbook: "troubleshooting.md#batches-wait-for-long",
			},
			{
				Title: "Oldest copy", Description: "Age of the oldest record in those copies; 0 if there are none.", Unit: Seconds, Kind: Graph,
				Queries: []Query{{"max by (stream) (millrace_batch_oldest_copied_seconds)", "{{stream}}"}}, Runbook: "troubleshooting.md#batches-wait-for-long",
			},
		}},
	},
}
