package workflows_test

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"millrace/activities/deadletters"
	"millrace/activities/ingest"
	"millrace/activities/recovery"
	"millrace/activities/redrive"
	"millrace/activities/supervise"
	"millrace/deploy/local/localtest"
	"millrace/internal/control"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

// madeUpCalls are the activities of one workflow: those with an answer give it, all others
// work until they are stopped.
type madeUpCalls struct {
	mu      sync.Mutex
	answers map[string]any
	inputs  map[string][]json.RawMessage // by activity type
}

func (c *madeUpCalls) call(ctx context.Context, args converter.EncodedValues) (any, error) {
	name := activity.GetInfo(ctx).ActivityType.Name
	var in json.RawMessage
	if err := args.Get(&in); err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.inputs[name] = append(c.inputs[name], in)
	answer, known := c.answers[name]
	c.mu.Unlock()
	for !known {
		activity.RecordHeartbeat(ctx)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-activity.GetWorkerStopChannel(ctx):
			return nil, context.Canceled
		case <-time.After(20 * time.Millisecond):
		}
	}
	return answer, nil
}

func (c *madeUpCalls) of(name string) []json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inputs[name]
}

func (c *madeUpCalls) any() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.inputs) > 0
}

// TestResultsByHandAreIgnored completes the activity of each workflow by hand, with {}:
// the workflow makes the call again, from the same state, or fails.
func TestResultsByHandAreIgnored(t *testing.T) {
	t.Parallel()
	namespace := localtest.TemporalNamespace(t, workflows.SearchAttributes...)
	c := localtest.TemporalClient(t, namespace)
	plan := recovery.Plan{ID: "r", Papers: "recovery/r/", Pages: 1, Restore: []recovery.IndexPlan{{}}}
	reached := map[string]telemetry.Checkpoint{"shard": {Sequence: "1"}}
	swept := recovery.SweepProgress{Done: true, Worker: "w"}
	piece := telemetry.Range{Shard: "shard", First: "1", Last: "10", Count: 10}
	for _, of := range []struct {
		activity string
		workflow any
		in       any
		answers  map[string]any
		same     string // the member of both inputs; none: the workflow fails
		canceled bool   // before the call
	}{
		{"RedriveMessages", workflows.Redrive, workflows.RedriveInput{Queue: "q", Counts: redrive.Counts{Records: 5}}, nil, "counts", false},
		{"KeepLetters", workflows.KeepDeadLetters, workflows.KeepInput{Queue: "q", Counts: deadletters.KeepCounts{Messages: 5}}, nil, "counts", false},
		{
			"ReprocessEntries", workflows.ReprocessDeadLetters,
			workflows.ReprocessInput{Stream: "s", Progress: deadletters.ReprocessProgress{Cursor: "ledger/open/k"}}, nil, "progress", false,
		},
		{
			"DrainParked", workflows.DrainIndex,
			workflows.DrainInput{Stream: "s", Index: "i", Counts: deadletters.ReprocessCounts{Entries: 5}}, nil, "counts", false,
		},
		{
			"SuperviseShards", workflows.ProcessStream,
			workflows.StreamInput{Stream: "s", Shards: []supervise.ShardState{{ID: "shard", State: control.StateRunning}}}, nil, "shards", false,
		},
		{
			"FinishBatch", workflows.IngestBatch, []byte("pack"),
			map[string]any{"PutBatch": ingest.PutResult{Records: 3, Left: []int{0, 2}}}, "left", false,
		},
		{
			"BuryBatch", workflows.IngestBatch, []byte("pack"),
			map[string]any{"PutBatch": ingest.PutResult{Records: 3, Left: []int{0, 2}}}, "left", true,
		},
		{"IndexRange", workflows.ProcessBatch, workflows.BatchInput{Range: piece}, nil, "range", false},
		{"BuryRange", workflows.ProcessBatch, workflows.BatchInput{
			Range: piece, Tree: &workflows.BatchNode{Range: piece, State: workflows.NodeSkipped, Cause: outcome.Error{Type: "odd"}},
		}, nil, "range", false},
		{"SweepObjects", workflows.Replay, workflows.RecoverInput{RecoverRequest: recovery.RecoverRequest{From: time.Unix(1, 0), To: time.Unix(2, 0)}},
			map[string]any{"PlanRecovery": plan}, "part", false},
		{"PlanRecovery", workflows.Recover, workflows.RecoverInput{}, map[string]any{"ConcludeRecovery": nil}, "", false},
		{
			"RestoreIndices", workflows.Recover, workflows.RecoverInput{},
			map[string]any{"PlanRecovery": plan, "HoldShards": reached, "ReleaseShards": nil, "ConcludeRecovery": nil}, "", false,
		},
		{"AwaitBackup", workflows.Recover, workflows.RecoverInput{}, map[string]any{
			"PlanRecovery": plan, "HoldShards": reached, "RestoreIndices": recovery.RestoreProgress{Indices: 1}, "ReleaseShards": nil,
			"SweepObjects": swept, "ConcludeRecovery": nil,
		}, "", false},
	} {
		t.Run(of.activity, func(t *testing.T) {
			made := &madeUpCalls{answers: of.answers, inputs: map[string][]json.RawMessage{}}
			stop := workAs(t, c, of.workflow, made)
			defer stop()
			options := client.StartWorkflowOptions{ID: workflows.RecoverID, TaskQueue: workflows.ProcessQueue}
			run, err := c.ExecuteWorkflow(t.Context(), options, of.workflow, of.in)
			if err != nil {
				t.Fatal(err)
			}
			if of.canceled {
				await(t, "an earlier call", func() bool { return made.any() })
				if err := c.CancelWorkflow(t.Context(), run.GetID(), run.GetRunID()); err != nil {
					t.Fatal(err)
				}
			}
			await(t, "the call", func() bool { return len(made.of(of.activity)) > 0 })
			completeByHand(t, c, namespace.Namespace, run, of.activity)
			if of.same == "" {
				var why *temporal.ApplicationError
				if err := run.Get(t.Context(), nil); !errors.As(err, &why) || why.Type() != workflows.CompletedByHand {
					t.Errorf("it ends with %v", err)
				}
				return
			}
			await(t, "the second call", func() bool { return len(made.of(of.activity)) > 1 })
			member := func(n int) (in map[string]any) {
				if err := json.Unmarshal(made.of(of.activity)[n], &in); err != nil {
					t.Fatal(err)
				}
				return in
			}
			if first, second := member(0)[of.same], member(1)[of.same]; first == nil || !reflect.DeepEqual(first, second) {
				t.Errorf("the call has %s %v, and after a result by hand %v", of.same, first, second)
			}
			if err := c.TerminateWorkflow(t.Context(), run.GetID(), run.GetRunID(), "the test ends"); err != nil {
				t.Error(err)
			}
		})
	}
}

// workAs runs workers for one workflow on all queues.
func workAs(t *testing.T, c client.Client, function any, made *madeUpCalls) (stop func()) {
	t.Helper()
	var started []worker.Worker
	for _, queue := range []string{
		workflows.IngestQueue, workflows.RedriveQueue, workflows.ProcessQueue, workflows.RangeQueue, workflows.DeadQueue,
		workflows.RecoverQueue, workflows.SweepQueue,
	} {
		w := worker.New(c, queue, worker.Options{MaxHeartbeatThrottleInterval: 50 * time.Millisecond})
		w.RegisterWorkflow(function)
		w.RegisterActivityWithOptions(func(context.Context, []byte) (any, error) { return made.answers["PutBatch"], nil }, activity.RegisterOptions{Name: "PutBatch"})
		w.RegisterDynamicActivity(made.call, activity.DynamicRegisterOptions{})
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		started = append(started, w)
	}
	return func() {
		for _, w := range started {
			w.Stop()
		}
	}
}

func completeByHand(t *testing.T, c client.Client, namespace string, run client.WorkflowRun, name string) {
	t.Helper()
	described, err := c.DescribeWorkflowExecution(t.Context(), run.GetID(), run.GetRunID())
	if err != nil {
		t.Fatal(err)
	}
	for _, pending := range described.GetPendingActivities() {
		if pending.GetActivityType().GetName() != name {
			continue
		}
		if err := c.CompleteActivityByID(t.Context(), namespace, run.GetID(), run.GetRunID(), pending.GetActivityId(), map[string]any{}, nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%s has no call of %s", run.GetID(), name)
}

// TestResetRecoveryKeepsItsID resets a recovery to its last workflow task: it goes on
// with what it has begun.
func TestResetRecoveryKeepsItsID(t *testing.T) {
	t.Parallel()
	namespace := localtest.TemporalNamespace(t, workflows.SearchAttributes...)
	c := localtest.TemporalClient(t, namespace)
	made := &madeUpCalls{answers: map[string]any{"PlanRecovery": recovery.Plan{Papers: "p"}}, inputs: map[string][]json.RawMessage{}}
	t.Cleanup(workAs(t, c, workflows.Recover, made))
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: workflows.RecoverID, TaskQueue: workflows.RecoverQueue},
		workflows.Recover, workflows.RecoverInput{})
	if err != nil {
		t.Fatal(err)
	}
	const holding = "HoldShards"
	await(t, "the call", func() bool { return len(made.of(holding)) > 0 })
	_, err = c.ResetWorkflowExecution(t.Context(), &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: namespace.Namespace, WorkflowExecution: &common.WorkflowExecution{WorkflowId: run.GetID(), RunId: run.GetRunID()},
		Reason: "a test", WorkflowTaskFinishEventId: lastTask(t, c, run), RequestId: "reset",
	})
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the call of the reset run", func() bool { return len(made.of(holding)) > 1 })
	var reasons []string
	for _, text := range made.of(holding) {
		var in recovery.HoldInput
		if err := json.Unmarshal(text, &in); err != nil {
			t.Fatal(err)
		}
		reasons = append(reasons, in.Hold.Reason)
	}
	if !strings.HasPrefix(reasons[0], "recovery recover-") || reasons[0] != reasons[1] {
		t.Errorf("it holds the shards for %q, and after the reset for %q", reasons[0], reasons[1])
	}
}

// lastTask is the event with which the last workflow task of a run ended.
func lastTask(t *testing.T, c client.Client, run client.WorkflowRun) (id int64) {
	t.Helper()
	for events := c.GetWorkflowHistory(t.Context(), run.GetID(), run.GetRunID(), false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		if event.GetEventType() == enums.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			id = event.GetEventId()
		}
	}
	return id
}
