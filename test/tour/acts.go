package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"millrace/internal/load"
	"millrace/internal/telemetry"
	"millrace/test/kit/alarms"
	"millrace/test/kit/faultproxy"
	"millrace/workflows"
)

// act is something that happens to the pipeline, and what its operators should see then.
type act struct {
	title  string
	alarms alarms.Expected
	// happen makes it happen, and mend ends it.
	happen, mend func(context.Context, *tour) error
	console      string     // what the console says then
	starter      [][]string // commands that show it
	ui           string     // query that finds it among the workflows
}

// memory are the alerts on error budgets, which remember what was long after it is over, and those on the canary, whose
// records share the fate of all. No act is responsible for them.
var memory = slices.Concat(alarms.Late, []string{
	"CanaryBudgetBurnsFast", "CanaryBudgetBurns", "CanaryBudgetBurnsSlowly", "CanarySlow",
	"IngestBudgetBurnsFast", "IngestBudgetBurns", "IngestBudgetBurnsSlowly",
})

// acts are five breakages, and a pause. What the deletion sets off is remembered for long: it comes last.
var acts = []act{
	{
		title:  "Elasticsearch refuses every bulk request",
		alarms: alarms.Expected{Must: []string{"ElasticsearchFails", "ShardWaiting"}, May: []string{"ElasticsearchBacksOff", "ElasticsearchIsTheLimit", "ShardLags"}},
		happen: func(_ context.Context, t *tour) error {
			t.elasticsearch.Set(faultproxy.Rule{Name: "full", Path: "/_bulk", Fault: faultproxy.Answer{Status: http.StatusTooManyRequests, Body: `{"error":{"type":"es_rejected_execution_exception","reason":"full"}}`}})
			return nil
		},
		mend:    passAll,
		console: "waits", starter: [][]string{{"shards"}}, ui: `WorkflowType="ProcessShard" AND MillraceState="waiting"`,
	},
	{
		title:  "the stream throttles every put",
		alarms: alarms.Expected{Must: []string{"FallbackQueueUsed"}, May: []string{"FallbackQueueAges", "FallbackQueueStands"}},
		happen: func(_ context.Context, t *tour) error {
			t.aws.Set(faultproxy.Rule{Name: "throttled", Operation: "PutRecords", Fault: faultproxy.Throttle()})
			return nil
		},
		mend:    passAll,
		console: "the stream rejects", starter: [][]string{{"redrive", "status"}}, ui: `WorkflowType="Redrive"`,
	},
	{
		title:  "a new version of an agent sends durations that are text",
		alarms: alarms.Expected{Must: []string{"DeadLettersRise"}, May: []string{"TenantsOffend"}},
		happen: func(ctx context.Context, t *tour) error {
			t.bad = t.load(ctx, careless, load.Source{BadShare: 0.05})
			return nil
		},
		mend:    func(_ context.Context, t *tour) error { return t.bad.stop() },
		console: "a second are given up", starter: [][]string{{"dlq", "list"}}, ui: `WorkflowType="KeepDeadLetters"`,
	},
	{
		title:  "an operator pauses the stream under load",
		alarms: alarms.Expected{Must: []string{"ShardHeld"}, May: []string{"ShardLags", "ShardHeldForLong"}},
		happen: func(ctx context.Context, t *tour) error {
			if _, err := t.pipeline.Starter(ctx, "stream", "pause", "--for", "0", "--reason", "a look at the mapping"); err != nil {
				return err
			}
			return t.holdsAll(ctx)
		},
		mend: func(ctx context.Context, t *tour) error {
			_, err := t.pipeline.Starter(ctx, "stream", "resume")
			return err
		},
		console: "is paused", starter: [][]string{{"shards"}}, ui: `WorkflowType="ProcessShard" AND MillraceState="paused"`,
	},
	{
		title:  "the only worker dies",
		alarms: alarms.Expected{Must: []string{"NoWorker", "NothingIsProcessed", "TargetDown"}, May: []string{"FallbackQueueStands", "NothingIsBackedUp", "BreakerOpen"}},
		happen: func(ctx context.Context, t *tour) error {
			if err := t.countCanary(ctx); err != nil {
				return err
			}
			t.worker.Kill()
			return nil
		},
		mend:    func(ctx context.Context, t *tour) error { return t.worker.Restart(ctx) },
		console: "worker", starter: [][]string{{"shards"}}, ui: `WorkflowType="ProcessShard" AND ExecutionStatus="Running"`,
	},
	{
		title: "a wrong command deletes the indices of all logs",
		alarms: alarms.Expected{
			Must: []string{"RecordsMissing"},
			May:  []string{"BackupLags", "ShardHeld", "ShardLags"}, // while the recovery holds the shards, and reads the backup
		},
		happen: func(ctx context.Context, t *tour) error {
			if err := t.deleteIndices(ctx, telemetry.IndexPrefix+"log-*"); err != nil {
				return err
			}
			missing, err := t.misses(ctx)
			if err == nil && !missing {
				err = errors.New("the audit misses nothing")
			}
			return err
		},
		mend: func(ctx context.Context, t *tour) error {
			if _, err := t.pipeline.Starter(ctx, "recover", "start", "--yes"); err != nil {
				return err
			}
			return until(ctx, "an audit that finds all", func() (bool, error) {
				missing, err := t.misses(ctx)
				return !missing, err
			})
		},
		console: "in neither index nor ledger", starter: [][]string{{"audit", "status"}}, ui: `WorkflowType="AuditBackup"`,
	},
}

func passAll(_ context.Context, t *tour) error {
	t.aws.Set()
	t.elasticsearch.Set()
	return nil
}

// deleteIndices deletes those of a pattern.
func (t *tour) deleteIndices(ctx context.Context, pattern string) error {
	var listed []struct{ Index string }
	if err := t.stores.Ask(ctx, http.MethodGet, "/_cat/indices/"+pattern+"?format=json&h=index", nil, &listed); err != nil {
		return err
	}
	if len(listed) == 0 {
		return fmt.Errorf("there is no index %s", pattern)
	}
	for _, one := range listed {
		if err := t.stores.Ask(ctx, http.MethodDelete, "/"+one.Index, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// misses looks for every record of the backup, and reports whether one is missing.
func (t *tour) misses(ctx context.Context) (bool, error) {
	_, err := t.pipeline.Starter(ctx, "audit", "run", "--all", "--within", "15m", "--grace", "10s")
	if err != nil && strings.Contains(err.Error(), workflows.RecordsMissing) {
		return true, nil
	}
	return false, err
}

// heldFor is how long the paused stream is watched.
const heldFor = 20 * time.Second

// holdsAll counts the documents that are made while all shards are paused, and records are accepted.
func (t *tour) holdsAll(ctx context.Context) error {
	all := t.stores
	all.Tenant = ""
	before, err := all.Indexed(ctx)
	if err != nil {
		return err
	}
	posted, err := t.collector.Metric(ctx, "millrace_api_records_total")
	if err != nil {
		return err
	}
	if err := until(ctx, "records to be accepted while the stream is paused", func() (bool, error) {
		now, err := t.collector.Metric(ctx, "millrace_api_records_total")
		return now-posted > heldFor.Seconds()*t.Rate, err
	}); err != nil {
		return err
	}
	after, err := all.Indexed(ctx)
	t.result.PauseHeld = int64(after) - int64(before)
	return err
}
