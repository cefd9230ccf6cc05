package observability

var ingestBoard = Dashboard{
	ID: "ingest", Title: "ingest", Description: "Collectors, and the way of records into the stream.",
	Rows: []Row{
		{"Requests", []Panel{
			{
				Title: "Requests", Description: "Requests by HTTP status; those of gRPC by the status they map to.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_api_request_seconds_count", "status", "{{status}}")}, Runbook: "troubleshooting.md#agents-are-turned-away",
			},
			{
				Title: "Time of a request", Description: "From the head of a request to its answer, by protocol.", Unit: Seconds, Kind: Graph,
				Queries: quantiles("millrace_api_request_seconds", "protocol"),
			},
			{
				Title: "Records", Description: "Records by result. Only unavailable ones count against the budget: the others are the agent's, or its tenant's quota.",
				Unit: RecordsPerSecond, Kind: Graph, Queries: []Query{rate("millrace_api_records_total", "result", "{{result}}")},
				Runbook: "troubleshooting.md#agents-are-turned-away",
			},
			{
				Title: "Bytes", Description: "Bytes of request bodies, after decompression, by protocol.", Unit: BytesPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_api_request_bytes_total", "protocol", "{{protocol}}")},
			},
			{
				Title: "Throttled", Description: "Requests answered 429, by the exhausted quota of their tenant.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_api_throttled_requests_total", "quota", "{{quota}}")}, Runbook: "troubleshooting.md#a-tenant-gets-429",
				Empty: "no tenant exceeds its quota",
			},
			{
				Title: "Timestamps", Description: "Accepted records by their own timestamp. Only a usable one becomes @timestamp.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_api_record_times_total", "time", "{{time}}")},
			},
			{
				Title: "Removed names", Description: "Requests with names that OpenTelemetry has removed: update their agents.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_api_dropped_names_total", "protocol", "{{protocol}}")}, Empty: "no agent is that old",
			},
			{
				Title: "Key file", Description: "1 while a collector cannot read its key file.", Unit: Count, Kind: Graph,
				Queries: []Query{{"max by (instance) (millrace_api_key_file_broken)", "{{instance}}"}}, Runbook: "troubleshooting.md#the-key-file-is-broken",
			},
		}},
		{"Batches", []Panel{
			{
				Title: "Time to make a batch durable", Description: "By way: through a workflow of Temporal, or directly into stream or queue.", Unit: Seconds, Kind: Graph,
				Queries: quantiles("millrace_ingest_batch_seconds", "way"),
			},
			{
				Title: "Ways", Description: "Records made durable, by way.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_ingest_records_total", "way", "{{way}}")}, Runbook: "troubleshooting.md#temporal-is-down",
			},
			{
				Title: "Not durable", Description: "Records that no way made durable, or that were shed because too many bytes waited. Their agents must retry.",
				Unit: RecordsPerSecond, Kind: Graph, Runbook: "troubleshooting.md#agents-are-turned-away",
				Queries: []Query{rate("millrace_ingest_failed_records_total", "", "failed"), rate("millrace_ingest_shed_records_total", "", "shed")},
			},
			{
				Title: "Breaker", Description: "1 while a collector works without Temporal.", Unit: Count, Kind: Graph,
				Queries: []Query{{"max by (instance) (millrace_ingest_breaker_open)", "{{instance}}"}}, Runbook: "troubleshooting.md#temporal-is-down",
			},
			{
				Title: "Restarts", Description: "Batches whose workflow did not start in time; batches that Reconcile restarted; runs that it cannot restart.",
				Unit: CallsPerSecond, Kind: Graph, Runbook: "troubleshooting.md#a-run-cannot-be-restarted",
				Queries: []Query{rate("millrace_ingest_starts_failed_total", "", "not started"), rate("millrace_ingest_replayed_batches_total", "", "restarted"),
					rate("millrace_ingest_unreadable_runs_total", "", "unreadable")},
			},
		}},
		{"Stream", []Panel{
			{
				Title: "Where records went", Description: "Records of collectors made durable, by place.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_intake_records_total", "where", "{{where}}")}, Runbook: "troubleshooting.md#the-stream-throttles",
			},
			{
				Title: "PutRecords", Description: "Records sent to the stream, by result.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_stream_put_records_total", "result", "{{result}}")}, Runbook: "troubleshooting.md#the-stream-throttles",
			},
			{
				Title: "Batches at once", Description: "Limit of batches put into the stream at once. It falls while the stream throttles or does not answer.",
				Unit: Count, Kind: Graph, Queries: []Query{{"min by (job, instance) (millrace_intake_concurrency_limit)", "{{job}} {{instance}}"}},
			},
			{
				Title: "Retention", Description: "How long the stream keeps a record.", Unit: Seconds, Kind: Figure,
				Queries: []Query{{"max(millrace_stream_retention_seconds)", "retention"}}, Runbook: "troubleshooting.md#lag-nears-the-streams-retention",
			},
		}},
		{"Fallback queue", []Panel{
			{
				Title: "Records sent", Description: "Records sent to the fallback queue, by result.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_queue_sent_records_total", "result", "{{result}}")}, Runbook: "troubleshooting.md#the-queue-refuses-records",
			},
			{
				Title: "Records redriven", Description: "Records received from the queue, and put into the stream.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_queue_received_records_total", "", "received"), rate("millrace_redrive_records_total", "", "redriven")},
				Runbook: "troubleshooting.md#the-queue-grows",
			},
			{
				Title: "Oldest record", Description: "Age of the oldest record that is being redriven; 0 while the queue is empty, and none while Redrive does not run.",
				Unit: Seconds, Kind: Graph, Queries: []Query{{"max by (queue) (millrace_redrive_oldest_seconds)", "{{queue}}"}},
				Runbook: "troubleshooting.md#the-queue-grows",
			},
			{
				Title: "Time until in the stream", Description: "From the receipt of a record by its collector until the stream has it, of those that came by the queue.",
				Unit: Seconds, Kind: Graph, Queries: quantiles("millrace_redrive_seconds", ""), Runbook: "troubleshooting.md#the-queue-grows",
			},
			{
				Title: "Pace", Description: "Limit of records redriven a second, 0 if there is none, and calls in which the stream rejected some.", Unit: RecordsPerSecond, Kind: Graph,
				Queries: []Query{{"max(millrace_redrive_pace_records)", "limit"}, rate("millrace_redrive_throttled_total", "", "calls throttled")},
			},
			{
				Title: "Messages sent", Description: "Messages sent, by the place of their records: in the message, or in S3.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_queue_sent_messages_total", "records", "{{records}}")},
			},
			{
				Title: "Messages received", Description: "Messages received, by what they were, and deleted once their records are safe.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("millrace_queue_received_messages_total", "result", "{{result}}"), rate("millrace_queue_deleted_messages_total", "", "deleted")},
				Runbook: "troubleshooting.md#the-ledger-has-a-missing_overflow",
			},
		}},
	},
}
