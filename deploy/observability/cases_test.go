package observability

import "time"

// in are series of a test by their selector, with values as promtool writes them: 0+2x60 are 0, 2, 4 and so on, 1x5 is 1
// six times, and _x5 is nothing. They are a minute apart, and in scenarios that take days, an hour.
type in map[string]string

// scenario is what an alert is shown, and whether it fires then.
type scenario struct {
	what  string
	at    time.Duration
	in    in
	fires bool
	with  string // labels beside those of the rule
}

func fires(what string, at time.Duration, with string, series in) scenario {
	return scenario{what, at, series, true, with}
}

func silent(what string, at time.Duration, series in) scenario {
	return scenario{what: what, at: at, in: series}
}

const minute, hour, day = time.Minute, time.Hour, 24 * time.Hour

// delays are 100 records from one value to the next, of which some are fast enough.
func delays(fast, values string) in {
	return in{
		`millrace_delay_seconds_bucket{le="2.5",instance="w1"}`: "0+" + fast + "x" + values,
		`millrace_delay_seconds_count{instance="w1"}`:           "0+100x" + values,
	}
}

// answers are records that were accepted, and others that could not be made durable.
func answers(accepted, unavailable, values string) in {
	return in{
		`millrace_api_records_total{protocol="otlp",result="accepted",instance="c1"}`:    "0+" + accepted + "x" + values,
		`millrace_api_records_total{protocol="otlp",result="unavailable",instance="c1"}`: "0+" + unavailable + "x" + values,
	}
}

// canaryRuns are records of the canary that could be searched, and others that were late.
func canaryRuns(searchable, late, values string) in {
	return in{
		`millrace_canary_runs_total{region="eu",result="searchable",instance="w1"}`: "0+" + searchable + "x" + values,
		`millrace_canary_runs_total{region="eu",result="late",instance="w1"}`:       "0+" + late + "x" + values,
		`millrace_canary_runs_total{region="us",result="searchable",instance="w1"}`: "0+100x" + values,
	}
}

// searches are records of the canary that were found within ten seconds, and all of them, which were within 15.
func searches(within, all string) in {
	const metric = `millrace_canary_searchable_seconds_bucket{region="eu",instance="w1",le=`
	return in{metric + `"10"}`: within, metric + `"15"}`: all, metric + `"+Inf"}`: all}
}

// waits are workflow tasks that a worker has taken within a second, and all of them, which it has within two.
func waits(within, all string) in {
	const metric = `temporal_workflow_task_schedule_to_start_latency_seconds_bucket{task_queue="millrace-process",instance="w1",le=`
	return in{metric + `"1"}`: within, metric + `"2"}`: all, metric + `"+Inf"}`: all}
}

// state is a shard's, as its stage reports it.
func state(name, values string) in {
	return in{`millrace_shard_state{stage="process",shard="s1",state="` + name + `",instance="w1"}`: values}
}

// of are the values of one series.
func of(series, values string) in { return in{series: values} }

const (
	lagOfShard   = `millrace_process_lag_seconds{shard="s1",instance="w1"}`
	lagOfBackup  = `millrace_backup_lag_seconds{shard="s1",instance="w1"}`
	retention    = `millrace_stream_retention_seconds{instance="w1"}`
	runningShard = `millrace_shard_state{stage="process",shard="s1",state="running",instance="w1"}`
	drainedShard = `millrace_shard_state{stage="process",shard="s1",state="drained",instance="w1"}`
	pausedShard  = `millrace_shard_state{stage="process",shard="s1",state="paused",instance="w1"}`
	pausedBackup = `millrace_shard_state{stage="backup",shard="s1",state="paused",instance="w1"}`
)

// scenarios show each alert what it is for, and what comes near.
var scenarios = map[string][]scenario{
	"DelayBudgetBurnsFast": {
		fires("a fifth is late for an hour", 65*minute, "", delays("80", "80")),
		silent("a tenth is late", 65*minute, delays("90", "80")),
		silent("what was late for an hour is fast again", 70*minute, in{
			`millrace_delay_seconds_bucket{le="2.5",instance="w1"}`: "0+50x60 3100+100x20",
			`millrace_delay_seconds_count{instance="w1"}`:           "0+100x80",
		}),
	},
	"DelayBudgetBurns": {
		fires("a tenth is late for six hours", 6*hour+30*minute, "", delays("90", "400")),
		silent("a twentieth is late", 6*hour+30*minute, delays("95", "400")),
		silent("what was late for six hours is fast again", 7*hour, delays("80x360 28900+100", "460")),
	},
	"DelayBudgetBurnsSlowly": {
		fires("a fiftieth is late for three days", 73*hour, "", delays("98", "80")),
		silent("one in two hundred is late", 73*hour, delays("99.5", "80")),
		silent("what was late for three days is fast again", 80*hour, delays("95x72 6940+100", "90")),
	},
	"IngestBudgetBurnsFast": {
		fires("a fiftieth is turned away for an hour", 65*minute, "", answers("98", "2", "80")),
		silent("a hundredth is turned away", 65*minute, answers("99", "1", "80")),
		silent("none is any more", 70*minute, answers("90", "10x60 600+0", "80")),
		silent("bad records, and those beyond a quota, are not ours", 65*minute, in{
			`millrace_api_records_total{protocol="otlp",result="accepted",instance="c1"}`:  "0+50x80",
			`millrace_api_records_total{protocol="otlp",result="rejected",instance="c1"}`:  "0+50x80",
			`millrace_api_records_total{protocol="otlp",result="throttled",instance="c1"}`: "0+50x80",
		}),
	},
	"IngestBudgetBurns": {
		fires("a hundredth is turned away for six hours", 6*hour+30*minute, "", answers("99", "1", "400")),
		silent("one in two hundred is turned away", 6*hour+30*minute, answers("99.5", "0.5", "400")),
		silent("none is any more", 7*hour, answers("90", "10x360 3600+0", "460")),
	},
	"IngestBudgetBurnsSlowly": {
		fires("one in five hundred is turned away for three days", 73*hour, "", answers("99.8", "0.2", "80")),
		silent("one in two thousand is turned away", 73*hour, answers("99.95", "0.05", "80")),
		silent("none is any more", 80*hour, answers("90", "10x72 720+0", "90")),
	},

	"CanaryBudgetBurnsFast": {
		fires("a fiftieth is late for an hour, in one region", 65*minute, `region="eu"`, canaryRuns("98", "2", "80")),
		silent("a hundredth is late", 65*minute, canaryRuns("99", "1", "80")),
		silent("none is any more", 70*minute, canaryRuns("90", "10x60 600+0", "80")),
		silent("there is no canary", 65*minute, of(retention, "86400x80")),
	},
	"CanaryBudgetBurns": {
		fires("a hundredth is late for six hours", 6*hour+30*minute, `region="eu"`, canaryRuns("99", "1", "400")),
		silent("one in two hundred is late", 6*hour+30*minute, canaryRuns("99.5", "0.5", "400")),
		silent("none is any more", 7*hour, canaryRuns("90", "10x360 3600+0", "460")),
	},
	"CanaryBudgetBurnsSlowly": {
		fires("one in five hundred is late for three days", 73*hour, `region="eu"`, canaryRuns("99.8", "0.2", "80")),
		silent("one in two thousand is late", 73*hour, canaryRuns("99.95", "0.05", "80")),
		silent("none is any more", 80*hour, canaryRuns("90", "10x72 720+0", "90")),
	},
	"CanarySlow": {
		fires("a fifth takes longer than ten seconds", 25*minute, `region="eu"`, searches("0+48x30", "0+60x30")),
		silent("one in twenty does", 25*minute, searches("0+57x30", "0+60x30")),
		silent("it did for a few minutes", 25*minute, searches("0+48x5 240+60x25", "0+60x30")),
	},
	"CanarySilent": {
		fires("there was no run for eight minutes", 8*minute, `region="eu"`, of(`millrace_canary_last_run_timestamp_seconds{region="eu",instance="w1"}`, "0x20")),
		fires("no worker has the canary any more", 30*minute, `region="eu"`, of(`millrace_canary_last_run_timestamp_seconds{region="eu",instance="w1"}`, "0+60x5 stale")),
		silent("another worker ran it", 20*minute, in{
			`millrace_canary_last_run_timestamp_seconds{region="eu",instance="w1"}`: "0x30", `millrace_canary_last_run_timestamp_seconds{region="eu",instance="w2"}`: "0+60x30",
		}),
		silent("it was given up two hours ago", 2*hour, of(`millrace_canary_last_run_timestamp_seconds{region="eu",instance="w1"}`, "0+60x5 stale")),
	},

	"ShardWaiting": {
		fires("a shard waits", 3*minute, `shard="s1"`, of(`millrace_process_waiting{shard="s1",instance="w1"}`, "1x10")),
		silent("it moves again after a minute", 5*minute, of(`millrace_process_waiting{shard="s1",instance="w1"}`, "1 0x10")),
		silent("its worker lets go of it", 8*minute, of(`millrace_process_waiting{shard="s1",instance="w1"}`, "1 stale")),
	},
	"ShardTripped": {
		fires("a shard is tripped", 4*minute, `stage="process",shard="s1"`, state("tripped", "1x10")),
		silent("a shard runs", 4*minute, state("running", "1x10")),
	},
	"ShardHeld": {
		fires("a shard is paused", minute, `stage="process",shard="s1"`, state("paused", "1x10")),
		silent("a shard is tripped", minute, state("tripped", "1x10")),
	},
	"ShardHeldForLong": {
		fires("a shard is paused for 35 minutes", 35*minute, `stage="process",shard="s1"`, state("paused", "1x40")),
		silent("it is resumed after 20 minutes", 35*minute, in{pausedShard: "1x20 stale", runningShard: "_x20 1x20"}),
	},
	"ShardClosed": {
		fires("a workflow does not start again", 7*minute, `stage="process",shard="s1"`, state("closed", "1x10")),
		silent("it starts again", 7*minute, in{`millrace_shard_state{stage="process",shard="s1",state="closed",instance="w1"}`: "1 stale", runningShard: "_ 1x10"}),
	},
	"ShardLags": {
		fires("a worker falls behind", 12*minute, `stage="process",shard="s1"`, of(lagOfShard, "400x20")),
		fires("no worker reads a shard that is held", 30*minute, `stage="process",shard="s1"`, in{lagOfShard: "3x5 stale", pausedShard: "1x45"}),
		fires("one of two workers has let go of it", 12*minute, `stage="process",shard="s1"`, in{lagOfShard: "400x20", `millrace_process_lag_seconds{shard="s1",instance="w0"}`: "1 stale"}),
		silent("a worker is four minutes behind", 12*minute, of(lagOfShard, "240x20")),
		silent("another worker takes the shard over", 20*minute, in{lagOfShard: "400x5 stale", `millrace_process_lag_seconds{shard="s1",instance="w2"}`: "_x5 2x20"}),
		silent("a shard is drained", 30*minute, in{lagOfShard: "3x5 stale", runningShard: "1x5 stale", drainedShard: "_x5 1x40"}),
		silent("a shard has left the stream", 30*minute, in{lagOfShard: "3x5 stale", runningShard: "1x5 stale"}),
	},
	"ShardNearsRetention": {
		fires("a worker is behind by more than half of a day", 6*minute, `stage="process",shard="s1"`, in{lagOfShard: "50000x20", retention: "86400x20"}),
		fires("a shard is held for 13 hours", 13*hour, `stage="process",shard="s1"`, in{lagOfShard: "3x5 stale", pausedShard: "1x800", retention: "86400x800"}),
		silent("a worker is behind by less", 6*minute, in{lagOfShard: "40000x20", retention: "86400x20"}),
		silent("the retention is longer", 6*minute, in{lagOfShard: "50000x20", retention: "604800x20"}),
	},
	"NothingIsProcessed": {
		fires("no worker has a shard", 12*minute, "", of(retention, "86400x20")),
		silent("a worker has one", 12*minute, of(lagOfShard, "1x20")),
		silent("all are paused", 12*minute, of(pausedShard, "1x20")),
	},
	"TenantsOffend": {
		fires("a tenant offends", 16*minute, `shard="s1"`, of(`millrace_process_offenders{shard="s1",instance="w1"}`, "1x20")),
		fires("it sends every few minutes", 16*minute, `shard="s1"`, of(`millrace_process_offenders{shard="s1",instance="w1"}`, "1 0x4 1 0x4 1 0x4 1 0x4")),
		silent("none does any more", 16*minute, of(`millrace_process_offenders{shard="s1",instance="w1"}`, "1x4 0x15")),
	},
	"BatchesHeldForLong": {
		fires("a batch waits", 6*minute, `stream="st"`, of(`millrace_batch_copies{stream="st",instance="w1"}`, "2x10")),
		silent("none does", 6*minute, of(`millrace_batch_copies{stream="st",instance="w1"}`, "0x10")),
	},
	"IdsInConflict": {
		fires("an id comes with other content", 12*minute, "", of(`millrace_process_records_total{outcome="conflict",instance="w1"}`, "0x5 3x10")),
		silent("it was before the worker was first scraped", 12*minute, of(`millrace_process_records_total{outcome="conflict",instance="w1"}`, "3x15")),
		silent("duplicates come", 12*minute, of(`millrace_process_records_total{outcome="duplicate",instance="w1"}`, "0+3x15")),
	},

	"RecordsTrimmedUnread": {
		fires("a range is lost", 8*minute, "", of(`millrace_process_losses_total{instance="w1"}`, "0x5 1x10")),
		silent("none is", 8*minute, of(`millrace_process_losses_total{instance="w1"}`, "0x15")),
	},
	"BackupLacksRecords": {
		fires("a range is lost", 8*minute, "", of(`millrace_backup_losses_total{instance="w1"}`, "0x5 1x10")),
		silent("none is", 8*minute, of(`millrace_backup_losses_total{instance="w1"}`, "0x15")),
	},
	"RunsUnreadable": {
		fires("a run cannot be read", 8*minute, "", of(`millrace_ingest_unreadable_runs_total{instance="w1"}`, "0x5 1x10")),
		silent("it is over", 30*minute, of(`millrace_ingest_unreadable_runs_total{instance="w1"}`, "0x5 1x30")),
	},

	"BreakerOpen": {
		fires("a collector works without Temporal", 6*minute, `instance="c1"`, of(`millrace_ingest_breaker_open{instance="c1"}`, "1x10")),
		silent("it closes again", 6*minute, of(`millrace_ingest_breaker_open{instance="c1"}`, "1x3 0x10")),
	},
	"KeyFileBroken": {
		fires("a key file is broken", 6*minute, `instance="c1"`, of(`millrace_api_key_file_broken{instance="c1"}`, "1x10")),
		silent("it is mended", 6*minute, of(`millrace_api_key_file_broken{instance="c1"}`, "1x3 0x10")),
	},
	"FallbackQueueUsed": {
		fires("records go to the queue", 20*minute, "", of(`millrace_intake_records_total{where="queue",instance="c1"}`, "0+60x30")),
		silent("they go to the stream", 20*minute, of(`millrace_intake_records_total{where="stream",instance="c1"}`, "0+60x30")),
		silent("they did for ten minutes", 20*minute, of(`millrace_intake_records_total{where="queue",instance="c1"}`, "0+60x8 480x30")),
	},
	"FallbackQueueAges": {
		fires("a record is 17 minutes old", 6*minute, `queue="q"`, of(`millrace_redrive_oldest_seconds{queue="q",instance="w1"}`, "0 1000x10")),
		silent("it is ten minutes old", 6*minute, of(`millrace_redrive_oldest_seconds{queue="q",instance="w1"}`, "600x10")),
	},
	"FallbackQueueStands": {
		fires("nothing redrives", 20*minute, "", of(`millrace_queue_sent_records_total{result="taken",instance="c1"}`, "0x5 100x20")),
		silent("a worker redrives", 20*minute, in{
			`millrace_queue_sent_records_total{result="taken",instance="c1"}`: "0x5 100x20",
			`millrace_redrive_oldest_seconds{queue="q",instance="w1"}`:        "0x25",
		}),
		silent("the queue took nothing", 20*minute, of(`millrace_queue_sent_records_total{result="taken",instance="c1"}`, "0x25")),
	},
	"FallbackQueueRefuses": {
		fires("SQS is away", 11*minute, `result="Unavailable"`, of(`millrace_queue_sent_records_total{result="Unavailable",instance="c1"}`, "0+6x20")),
		silent("SQS takes all", 11*minute, of(`millrace_queue_sent_records_total{result="taken",instance="c1"}`, "0+6x20")),
	},

	"ElasticsearchIsTheLimit": {
		fires("requests wait", 20*minute, "", of(`millrace_index_requests_waiting{priority="live",instance="w1"}`, "3x30")),
		silent("one waits now and then", 20*minute, of(`millrace_index_requests_waiting{priority="live",instance="w1"}`, "0 0 0 3 0 0 0 3 0 0 0 3 0 0 0 3 0 0 0 3 0 0")),
	},
	"ElasticsearchBacksOff": {
		fires("a worker comes down", 12*minute, `instance="w1"`, in{
			`millrace_index_concurrency_limit{instance="w1"}`: "1x20", `millrace_index_request_bytes_total{instance="w1"}`: "0+1000x20",
		}),
		silent("it is where it started", 12*minute, in{
			`millrace_index_concurrency_limit{instance="w1"}`: "4x20", `millrace_index_request_bytes_total{instance="w1"}`: "0+1000x20",
		}),
		silent("it has nothing to send", 12*minute, in{
			`millrace_index_concurrency_limit{instance="w1"}`: "1x20", `millrace_index_request_bytes_total{instance="w1"}`: "1000x20",
		}),
	},
	"ElasticsearchFails": {
		fires("a fifth fails", 10*minute, "", in{
			`millrace_index_request_seconds_count{class="transient",instance="w1"}`: "0+20x20", `millrace_index_request_seconds_count{class="indexed",instance="w1"}`: "0+80x20",
		}),
		silent("a twentieth fails", 10*minute, in{
			`millrace_index_request_seconds_count{class="transient",instance="w1"}`: "0+5x20", `millrace_index_request_seconds_count{class="indexed",instance="w1"}`: "0+95x20",
		}),
	},
	"ElasticsearchShardLimit": {
		fires("the cluster is nearly full", 6*minute, "", of(`millrace_dependency_missing{dependency="shards",job="millrace-worker",instance="w1"}`, "1x10")),
		silent("S3 is missing", 6*minute, of(`millrace_dependency_missing{dependency="s3",job="millrace-worker",instance="w1"}`, "1x10")),
		silent("it does not answer", 6*minute, in{
			`millrace_dependency_missing{dependency="shards",job="millrace-worker",instance="w1"}`:        "1x10",
			`millrace_dependency_missing{dependency="elasticsearch",job="millrace-worker",instance="w1"}`: "1x10",
		}),
	},

	"DeadLettersRise": {
		fires("three in a thousand are given up", 22*minute, "", in{
			`millrace_process_records_total{outcome="dead_letter",instance="w1"}`: "0+3x30", `millrace_process_records_total{outcome="indexed",instance="w1"}`: "0+997x30",
		}),
		silent("one in two thousand is", 22*minute, in{
			`millrace_process_records_total{outcome="dead_letter",instance="w1"}`: "0+1x30", `millrace_process_records_total{outcome="indexed",instance="w1"}`: "0+1999x30",
		}),
		silent("they are parked", 22*minute, in{
			`millrace_process_records_total{outcome="dead_letter",instance="w1"}`: "0+300x30", `millrace_process_records_total{outcome="indexed",instance="w1"}`: "0+700x30",
			`millrace_process_parked_records_total{instance="w1"}`: "0+300x30",
		}),
	},
	"DeadLettersUntold": {
		fires("the queue refuses", 16*minute, `stream="st"`, of(`millrace_ledger_untold_entries{stream="st",instance="w1"}`, "2x20")),
		silent("it takes them after ten minutes", 16*minute, of(`millrace_ledger_untold_entries{stream="st",instance="w1"}`, "2x10 0x10")),
	},
	"RecordsParked": {
		fires("records are parked", 8*minute, "", of(`millrace_process_parked_records_total{instance="w1"}`, "0x5 10x20")),
		silent("none is", 8*minute, of(`millrace_process_parked_records_total{instance="w1"}`, "10x20")),
	},
	"DeadLettersUnreadable": {
		fires("one cannot be read", 16*minute, "", of(`millrace_dead_letters_unreadable{instance="w1"}`, "1x20")),
		silent("another worker has the queue, and it is gone", 16*minute, in{
			`millrace_dead_letters_unreadable{instance="w1"}`: "1x5 0x20", `millrace_dead_letters_unreadable{instance="w2"}`: "0x5 0x20",
		}),
	},

	"BackupWaiting": {
		fires("S3 refuses", 6*minute, `shard="s1"`, of(`millrace_backup_waiting{shard="s1",instance="w1"}`, "1x10")),
		silent("it takes them again", 6*minute, of(`millrace_backup_waiting{shard="s1",instance="w1"}`, "1x3 0x10")),
	},
	"BackupLags": {
		fires("it is 17 minutes behind", 12*minute, `stage="backup",shard="s1"`, of(lagOfBackup, "1000x20")),
		silent("it is 13 minutes behind", 12*minute, of(lagOfBackup, "800x20")),
	},
	"BackupNearsRetention": {
		fires("it is behind by more than half of a day", 6*minute, `stage="backup",shard="s1"`, in{lagOfBackup: "50000x20", retention: "86400x20"}),
		silent("it is behind by less", 6*minute, in{lagOfBackup: "40000x20", retention: "86400x20"}),
	},
	"NothingIsBackedUp": {
		fires("no worker has a shard", 12*minute, "", of(retention, "86400x20")),
		silent("a worker has one", 12*minute, of(lagOfBackup, "1x20")),
		silent("all are paused", 12*minute, of(pausedBackup, "1x20")),
	},
	"RecoveryStuck": {
		fires("the restore waits", 6*minute, `stage="restore"`, of(`millrace_recover_waiting{stage="restore",instance="w1"}`, "1x10")),
		silent("it gets on", 6*minute, of(`millrace_recover_waiting{stage="restore",instance="w1"}`, "1x3 0x10")),
	},

	"RecordsMissing": {
		fires("an audit found two", 8*minute, "", of(`millrace_residual_records_total{instance="w1"}`, "0x5 2x10")),
		fires("later runs found none", 5*hour, "", of(`millrace_residual_records_total{instance="w1"}`, "0x5 2x310")),
		fires("the worker that found them has restarted", 40*minute, "", of(`millrace_residual_records_total{instance="w1"}`, "0x5 2x10 0x30")),
		silent("audits found none", 8*minute, of(`millrace_residual_records_total{instance="w1"}`, "0x20")),
		silent("one did a day ago", 15*hour, of(`millrace_residual_records_total{instance="w1"}`, "0x5 2x1000")),
	},
	"AuditOld": {
		fires("there was none for two hours", 2*hour, "", of(`millrace_audit_last_run_timestamp_seconds{instance="w1"}`, "0x130")),
		fires("the worker that ran it has restarted", 2*hour, "", of(`millrace_audit_last_run_timestamp_seconds{instance="w1"}`, "0x30 stale")),
		silent("another worker ran one since", 2*hour, in{
			`millrace_audit_last_run_timestamp_seconds{instance="w1"}`: "0x130", `millrace_audit_last_run_timestamp_seconds{instance="w2"}`: "_x80 4800x50",
		}),
	},
	"AuditsNotRun": {
		fires("no worker ran one", 3*hour, "", of(retention, "86400x200")),
		silent("one did, and has restarted", 3*hour, of(`millrace_audit_last_run_timestamp_seconds{instance="w1"}`, "0x30 stale")),
	},

	"SnapshotOld": {
		fires("the last one is five hours old", 5*hour, `repository="r"`, of(`millrace_snapshot_last_success_timestamp_seconds{repository="r",instance="w1"}`, "0x310")),
		silent("another worker took one since", 5*hour, in{
			`millrace_snapshot_last_success_timestamp_seconds{repository="r",instance="w1"}`: "0x310",
			`millrace_snapshot_last_success_timestamp_seconds{repository="r",instance="w2"}`: "10800x310",
		}),
	},
	"SnapshotsNotTaken": {
		fires("no worker took one", 3*hour, "", of(retention, "86400x200")),
		silent("one did", 3*hour, of(`millrace_snapshot_last_success_timestamp_seconds{repository="r",instance="w1"}`, "0x200")),
	},
	"SnapshotFailed": {
		fires("one is suspect", 8*minute, `result="suspect"`, of(`millrace_snapshots_total{result="suspect",instance="w1"}`, "0x5 1x10")),
		silent("one is good", 8*minute, of(`millrace_snapshots_total{result="success",instance="w1"}`, "0x5 1x10")),
	},
	"DrillFailed": {
		fires("one is incomplete", 8*minute, `result="incomplete"`, of(`millrace_drills_total{result="incomplete",instance="w1"}`, "0x5 1x10")),
		silent("one is complete", 8*minute, of(`millrace_drills_total{result="complete",instance="w1"}`, "0x5 1x10")),
	},
	"DrillOld": {
		fires("there was none for 15 days", 15*day+2*hour, "", of(`millrace_drill_last_success_timestamp_seconds{instance="w1"}`, "0x380")),
		fires("the worker that ran it has restarted", 15*day+2*hour, "", of(`millrace_drill_last_success_timestamp_seconds{instance="w1"}`, "0x100 stale")),
		silent("another worker ran one since", 15*day+2*hour, in{
			`millrace_drill_last_success_timestamp_seconds{instance="w1"}`: "0x380", `millrace_drill_last_success_timestamp_seconds{instance="w2"}`: "_x250 864000x130",
		}),
	},
	"RetentionKeepsIndices": {
		fires("an index stays for two days", 2*day+2*hour, `of="day"`, in{
			`millrace_retention_indices_uncovered{of="day",instance="w1"}`:          "3x60",
			`millrace_retention_last_run_timestamp_seconds{of="day",instance="w1"}`: "100x60",
		}),
		silent("another worker has deleted it since", 2*day+2*hour, in{
			`millrace_retention_indices_uncovered{of="day",instance="w1"}`:          "3x60",
			`millrace_retention_last_run_timestamp_seconds{of="day",instance="w1"}`: "100x60",
			`millrace_retention_indices_uncovered{of="day",instance="w2"}`:          "_x24 0x30",
			`millrace_retention_last_run_timestamp_seconds{of="day",instance="w2"}`: "_x24 86500x30",
		}),
	},

	"WorkflowTasksFail": {
		fires("a task fails again and again", 12*minute, `workflow_type="ProcessShard",failure_reason="NonDeterminismError"`,
			of(`temporal_workflow_task_execution_failed_total{workflow_type="ProcessShard",failure_reason="NonDeterminismError",instance="w1"}`, "_x3 1+1x20")),
		silent("one failed, once", 12*minute,
			of(`temporal_workflow_task_execution_failed_total{workflow_type="ProcessShard",failure_reason="NonDeterminismError",instance="w1"}`, "_x3 1x20")),
	},
	"WorkflowTasksWait": {
		fires("they wait for two seconds", 16*minute, `task_queue="millrace-process"`, waits("0+10x30", "0+100x30")),
		silent("one in a hundred does", 16*minute, waits("0+99x30", "0+100x30")),
	},
	"SlotsTaken": {
		fires("two workers have none", 16*minute, `task_queue="millrace-range",worker_type="ActivityWorker"`, in{
			`temporal_worker_task_slots_available{task_queue="millrace-range",worker_type="ActivityWorker",instance="w1"}`: "0x20",
			`temporal_worker_task_slots_available{task_queue="millrace-range",worker_type="ActivityWorker",instance="w2"}`: "0x20",
		}),
		silent("one of two workers has one", 16*minute, in{
			`temporal_worker_task_slots_available{task_queue="millrace-range",worker_type="ActivityWorker",instance="w1"}`: "0x20",
			`temporal_worker_task_slots_available{task_queue="millrace-range",worker_type="ActivityWorker",instance="w2"}`: "1x20",
		}),
		silent("shards have them all", 16*minute, of(`temporal_worker_task_slots_available{task_queue="millrace-index",worker_type="ActivityWorker",instance="w1"}`, "0x20")),
	},
	"TemporalLimitsCalls": {
		fires("calls are refused", 16*minute, `operation="StartWorkflowExecution"`,
			of(`temporal_request_resource_exhausted_total{operation="StartWorkflowExecution",cause="RpsLimit",instance="c1"}`, "0+6x30")),
		silent("some were for a minute", 16*minute,
			of(`temporal_request_resource_exhausted_total{operation="StartWorkflowExecution",cause="RpsLimit",instance="c1"}`, "0 6x30")),
	},

	"TargetDown": {
		fires("a worker is down", 3*minute, `job="millrace-worker",instance="w1"`, of(`up{job="millrace-worker",instance="w1"}`, "0x10")),
		silent("it is back after a minute", 3*minute, of(`up{job="millrace-worker",instance="w1"}`, "0 1x10")),
		silent("a stranger is down", 3*minute, of(`up{job="other",instance="w1"}`, "0x10")),
	},
	"NoCollector": {
		fires("the only one is down", 3*minute, "", of(`up{job="millrace-collector",instance="c1"}`, "0x10")),
		silent("one of two is down", 3*minute, in{`up{job="millrace-collector",instance="c1"}`: "0x10", `up{job="millrace-collector",instance="c2"}`: "1x10"}),
	},
	"NoWorker": {
		fires("none is configured", 3*minute, "", of(`up{job="millrace-collector",instance="c1"}`, "1x10")),
		silent("one is up", 3*minute, of(`up{job="millrace-worker",instance="w1"}`, "1x10")),
	},
	"DependencyMissing": {
		fires("S3 is away", 6*minute, `job="millrace-worker",instance="w1",dependency="s3"`, of(`millrace_dependency_missing{dependency="s3",job="millrace-worker",instance="w1"}`, "1x10")),
		silent("the cluster is nearly full", 6*minute, of(`millrace_dependency_missing{dependency="shards",job="millrace-worker",instance="w1"}`, "1x10")),
		silent("S3 is back", 6*minute, of(`millrace_dependency_missing{dependency="s3",job="millrace-worker",instance="w1"}`, "1x3 0x10")),
	},
}
