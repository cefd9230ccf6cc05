package observability

const noFailure = "nothing fails"

var temporalBoard = Dashboard{
	ID: "temporal", Title: "Temporal", Description: "What Temporal's SDK measures in collectors and workers: tasks, slots, and calls to the server.",
	Rows: []Row{
		{"Tasks", []Panel{
			{
				Title: "Wait of workflow tasks", Description: "From their schedule to a worker, by task queue. Above a second, add workers.", Unit: Seconds, Kind: Graph,
				Queries: quantiles("temporal_workflow_task_schedule_to_start_latency_seconds", "task_queue"), Runbook: "troubleshooting.md#tasks-wait-for-a-worker",
			},
			{
				Title: "Wait of activities", Description: "From their schedule to a worker, by task queue. Shards wait for a free slot of millrace-index here.", Unit: Seconds, Kind: Graph,
				Queries: quantiles("temporal_activity_schedule_to_start_latency_seconds", "task_queue"), Runbook: "troubleshooting.md#tasks-wait-for-a-worker",
			},
			{
				Title: "Time of workflow tasks", Description: "That a worker takes for one, by workflow.", Unit: Seconds, Kind: Graph,
				Queries: quantiles("temporal_workflow_task_execution_latency_seconds", "workflow_type"),
			},
			{
				Title: "Time of activities", Description: "By activity. IndexShard and CopyShard run for as long as their shard stays.", Unit: Seconds, Kind: Graph,
				Queries: quantiles("temporal_activity_execution_latency_seconds", "activity_type"),
			},
			{
				Title: "Failed workflow tasks", Description: "By workflow and reason. Such a workflow stands still until its worker has other code.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("temporal_workflow_task_execution_failed_total", "workflow_type, failure_reason", "{{workflow_type}} {{failure_reason}}")},
				Runbook: "troubleshooting.md#workflow-tasks-fail", Empty: noFailure,
			},
			{
				Title: "Workflows completed", Description: "By workflow; most are batches of collectors.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("temporal_workflow_completed_total", "workflow_type", "{{workflow_type}}")},
			},
		}},
		{"Workers", []Panel{
			{
				Title: "Slots used", Description: "By task queue and kind of task.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum by (task_queue, worker_type) (temporal_worker_task_slots_used)", "{{task_queue}} {{worker_type}}"}},
				Runbook: "troubleshooting.md#tasks-wait-for-a-worker",
			},
			{
				Title: "Slots available", Description: "By task queue and kind of task. At 0, tasks wait.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum by (task_queue, worker_type) (temporal_worker_task_slots_available)", "{{task_queue}} {{worker_type}}"}},
				Runbook: "troubleshooting.md#tasks-wait-for-a-worker",
			},
			{
				Title: "Pollers", Description: "By task queue and kind of poller. A queue that is not here has no worker.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum by (task_queue, poller_type) (temporal_num_pollers)", "{{task_queue}} {{poller_type}}"}},
			},
			{
				Title: "Cached workflows", Description: "Workflows whose state each process keeps, so that it need not replay them.", Unit: Count, Kind: Graph,
				Queries: []Query{{"sum by (job, instance) (temporal_sticky_cache_size)", "{{job}} {{instance}}"}},
			},
		}},
		{"Calls to the server", []Panel{
			{
				Title: "Calls", Description: "By operation, without polls.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("temporal_request_total", "operation", "{{operation}}")},
			},
			{
				Title: "Time of a call", Description: "By operation, without polls.", Unit: Seconds, Kind: Graph, Queries: quantiles("temporal_request_latency_seconds", "operation"),
				Runbook: "troubleshooting.md#temporal-is-down",
			},
			{
				Title: "Limited", Description: "Calls that the server refused since a limit was exceeded, by operation.", Unit: CallsPerSecond, Kind: Graph,
				Queries: []Query{rate("temporal_request_resource_exhausted_total", "operation, cause", "{{operation}} {{cause}}")},
				Runbook: "troubleshooting.md#temporal-limits-calls", Empty: noFailure,
			},
		}},
	},
}
