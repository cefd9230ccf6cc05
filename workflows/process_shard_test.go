package workflows_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"millrace/workflows"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"millrace/activities/process"
	"millrace/internal/circuit"
	"millrace/internal/control"
	"millrace/internal/indexing"
	"millrace/internal/telemetry"
)

var testStream = telemetry.StreamID{Name: "s", ARN: "arn:s", Created: time.Unix(1_800_000_000, 0).UTC()}

// calls is a fake IndexShard: it hands each call to the next function.
type calls struct {
	inputs []process.IndexInput
	next   []func(ctx context.Context, in process.IndexInput) (process.IndexResult, error)
}

func (c *calls) run(ctx context.Context, in process.IndexInput) (process.IndexResult, error) {
	n := len(c.inputs)
	c.inputs = append(c.inputs, in)
	return c.next[min(n, len(c.next)-1)](ctx, in)
}

// reaches ends a call at a sequence number.
func reaches(sequence string, closed bool) func(context.Context, process.IndexInput) (process.IndexResult, error) {
	return func(_ context.Context, in process.IndexInput) (process.IndexResult, error) {
		counts := in.Counts
		counts.Add(indexing.Counts{Records: 10, Indexed: 10})
		return process.IndexResult{Progress: process.Progress{
			Checkpoint: telemetry.Checkpoint{Sequence: sequence, Closed: closed}, Counts: counts, Worker: "w",
		}}, nil
	}
}

func shardEnv(t *testing.T, c *calls) *testsuite.TestWorkflowEnvironment {
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	env.SetTestTimeout(5 * time.Minute)
	env.RegisterWorkflow(workflows.ProcessShard)
	env.RegisterActivityWithOptions(c.run, activity.RegisterOptions{Name: "IndexShard"})
	t.Cleanup(func() { env.AssertExpectations(t) })
	return env
}

func status(t *testing.T, env *testsuite.TestWorkflowEnvironment) (s workflows.ShardStatus) {
	t.Helper()
	answer, err := env.QueryWorkflow(workflows.StatusQuery)
	if err == nil {
		err = answer.Get(&s)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestProcessShardGoesOnFromCheckpointToCheckpoint(t *testing.T) {
	t.Parallel()
	c := &calls{next: []func(context.Context, process.IndexInput) (process.IndexResult, error){
		reaches("10", false), reaches("20", false), reaches("30", true),
	}}
	env := shardEnv(t, c)
	env.ExecuteWorkflow(workflows.ProcessShard, workflows.ShardInput{Stream: testStream, Shard: "shard", Checkpoint: telemetry.Checkpoint{Sequence: "5"}})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{"5", "10", "20"} {
		if got := c.inputs[n].Checkpoint.Sequence; got != want {
			t.Errorf("call %d began at %s, not %s", n, got, want)
		}
	}
	got := status(t, env)
	if got.State != control.StateDrained || got.Checkpoint.Sequence != "30" || got.Counts.Records != 30 || got.Worker != "w" {
		t.Errorf("in the end the status is %+v", got)
	}
}

// TestProcessShardIgnoresResultsOfOtherCalls: an operator has completed the activity by
// hand, with what another call had reached, or with nothing.
func TestProcessShardIgnoresResultsOfOtherCalls(t *testing.T) {
	t.Parallel()
	byHand := func(from *telemetry.Checkpoint, worker string) func(context.Context, process.IndexInput) (process.IndexResult, error) {
		return func(context.Context, process.IndexInput) (process.IndexResult, error) {
			return process.IndexResult{From: from, Waiting: true, Progress: process.Progress{Checkpoint: telemetry.Checkpoint{Sequence: "99"}, Worker: worker}}, nil
		}
	}
	at := &telemetry.Checkpoint{Sequence: "5"}
	c := &calls{next: []func(context.Context, process.IndexInput) (process.IndexResult, error){
		byHand(&telemetry.Checkpoint{Sequence: "7"}, "w"), byHand(&telemetry.Checkpoint{}, "w"), byHand(nil, ""), byHand(at, ""),
		func(ctx context.Context, in process.IndexInput) (process.IndexResult, error) {
			result, err := reaches("10", false)(ctx, in)
			result.From = &in.Checkpoint
			return result, err
		},
		reaches("30", true),
	}}
	env := shardEnv(t, c)
	env.ExecuteWorkflow(workflows.ProcessShard, workflows.ShardInput{Stream: testStream, Shard: "shard", Checkpoint: *at})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	for n, want := range []string{"5", "5", "5", "5", "5", "10"} {
		if got := c.inputs[n]; got.Checkpoint.Sequence != want || got.Waiting {
			t.Errorf("call %d began with %+v, not at %s", n, got, want)
		}
	}
}

func TestProcessShardRunsWhenNoHoldIsLeft(t *testing.T) {
	t.Parallel()
	c := &calls{next: []func(context.Context, process.IndexInput) (process.IndexResult, error){reaches("20", true)}}
	env := shardEnv(t, c)
	begin := env.Now()
	held := []control.Hold{{By: "recover", Until: begin.Add(time.Minute)}, {By: "ops"}}
	for after, want := range map[time.Duration]int{30 * time.Second: 2, 2 * time.Minute: 1} {
		env.RegisterDelayedCallback(func() {
			if got := status(t, env); len(got.Holds) != want || len(c.inputs) > 0 {
				t.Errorf("after %s there are holds %v and %d calls", after, got.Holds, len(c.inputs))
			}
		}, after)
	}
	env.RegisterDelayedCallback(func() { env.SignalWorkflow(workflows.Resume, control.Hold{By: "ops"}) }, time.Hour)
	env.ExecuteWorkflow(workflows.ProcessShard, workflows.ShardInput{Stream: testStream, Shard: "shard", Holds: held})
	if err := env.GetWorkflowError(); err != nil || len(c.inputs) != 1 {
		t.Fatalf("%d calls, %v", len(c.inputs), err)
	}
}

func TestProcessShardContinuesAsNewWithAllItKnows(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]workflows.ShardInput{
		"running": {}, "paused": {Holds: []control.Hold{{By: "ops"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &calls{next: []func(context.Context, process.IndexInput) (process.IndexResult, error){reaches("10", false)}}
			env := shardEnv(t, c)
			in.Stream, in.Shard, in.Checkpoint, in.CallFor = testStream, "shard", telemetry.Checkpoint{Sequence: "7"}, time.Minute
			env.SetContinueAsNewSuggested(true)
			env.ExecuteWorkflow(workflows.ProcessShard, in)
			var next *workflow.ContinueAsNewError
			if err := env.GetWorkflowError(); !errors.As(err, &next) {
				t.Fatalf("it ended with %v", err)
			}
			var got workflows.ShardInput
			if err := converter.GetDefaultDataConverter().FromPayloads(next.Input, &got); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", in) {
				t.Errorf("the next run begins with\n%+v, not\n%+v", got, in)
			}
		})
	}
}

// trips ends a call with an open circuit.
func trips(context.Context, process.IndexInput) (process.IndexResult, error) {
	return process.IndexResult{Tripped: true, Progress: process.Progress{Worker: "w", LastError: "mapper_parsing_exception"}}, nil
}

func TestProcessShardProbesItsWayBack(t *testing.T) {
	t.Parallel()
	c := &calls{next: []func(context.Context, process.IndexInput) (process.IndexResult, error){trips, trips, reaches("10", false), reaches("20", true)}}
	env := shardEnv(t, c)
	begin := env.Now()
	env.RegisterDelayedCallback(func() {
		if got := status(t, env); got.State != control.StateTripped || got.LastError == "" || len(c.inputs) != 1 {
			t.Errorf("with an open circuit it is %+v after %d calls", got, len(c.inputs))
		}
	}, workflows.FirstProbe-time.Second)
	env.ExecuteWorkflow(workflows.ProcessShard, workflows.ShardInput{Stream: testStream, Shard: "shard"})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	for n, probe := range []bool{false, true, true, false} {
		if c.inputs[n].Probe != probe || c.inputs[n].Force {
			t.Errorf("call %d: %+v", n, c.inputs[n])
		}
	}
	if took := env.Now().Sub(begin); took < 3*workflows.FirstProbe {
		t.Errorf("its probes were over after %v", took)
	}
}

func TestAnOperatorForcesATrippedShard(t *testing.T) {
	t.Parallel()
	c := &calls{next: []func(context.Context, process.IndexInput) (process.IndexResult, error){trips, reaches("10", false), reaches("20", true)}}
	env := shardEnv(t, c)
	env.RegisterDelayedCallback(func() { env.SignalWorkflow(workflows.Resume, nil) }, time.Second)
	env.ExecuteWorkflow(workflows.ProcessShard, workflows.ShardInput{Stream: testStream, Shard: "shard"})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if !c.inputs[1].Force || c.inputs[1].Probe || c.inputs[2].Force || c.inputs[2].Probe {
		t.Errorf("the calls were %+v", c.inputs)
	}
}

// A recovery lets go of every shard, also of one that is tripped: that must not
// give up its records.
func TestARecoveryForcesNoTrippedShard(t *testing.T) {
	t.Parallel()
	c := &calls{next: []func(context.Context, process.IndexInput) (process.IndexResult, error){trips, reaches("10", false), reaches("20", true)}}
	env := shardEnv(t, c)
	env.RegisterDelayedCallback(func() { env.SignalWorkflow(workflows.Pause, control.Hold{By: workflows.RecoverHolder}) }, time.Second)
	env.RegisterDelayedCallback(func() { env.SignalWorkflow(workflows.Resume, control.Hold{By: workflows.RecoverHolder}) }, 2*time.Second)
	env.ExecuteWorkflow(workflows.ProcessShard, workflows.ShardInput{Stream: testStream, Shard: "shard"})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if c.inputs[1].Force || !c.inputs[1].Probe {
		t.Errorf("the calls were %+v", c.inputs)
	}
}

// offends ends a call that knows two tenants, one of them an offender.
func offends(_ context.Context, in process.IndexInput) (process.IndexResult, error) {
	known := in.Tenants
	if known == nil {
		known = []circuit.TenantState{{Tenant: "bad", Records: 1000, Refused: 900, Since: time.Unix(1, 0).UTC()}, {Tenant: "good", Records: 10}}
	}
	return process.IndexResult{Progress: process.Progress{Worker: "w", Tenants: known}}, nil
}

// TestAnOperatorLiftsAnOffender: what is known of tenants goes from call to call,
// the status names the offender, and once it is lifted the next call knows nothing
// of it.
func TestAnOperatorLiftsAnOffender(t *testing.T) {
	t.Parallel()
	var during workflows.ShardStatus
	c := &calls{}
	env := shardEnv(t, c)
	waits := func(ctx context.Context, in process.IndexInput) (process.IndexResult, error) {
		during = status(t, env)
		env.SignalWorkflow(workflows.Lift, control.Hold{Tenant: "bad"})
		<-ctx.Done()
		return offends(ctx, in)
	}
	c.next = []func(context.Context, process.IndexInput) (process.IndexResult, error){offends, waits, offends, reaches("20", true)}
	env.ExecuteWorkflow(workflows.ProcessShard, workflows.ShardInput{Stream: testStream, Shard: "shard"})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if len(during.Offenders) != 1 || during.Offenders[0].Tenant != "bad" || !strings.Contains(during.Markdown(), "bad: 90 % of its last 1000 records") {
		t.Errorf("the status is %+v", during)
	}
	if known := c.inputs[1].Tenants; len(known) != 2 || known[0].Tenant != "bad" || known[1].Tenant != "good" {
		t.Errorf("the second call knows %+v", known)
	}
	if known := c.inputs[2].Tenants; len(known) != 1 || known[0].Tenant != "good" {
		t.Errorf("when it is lifted the call knows %+v", known)
	}
}
