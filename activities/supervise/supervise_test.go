package supervise

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"millrace/internal/control"
	"millrace/internal/telemetry"

	"github.com/prometheus/client_golang/prometheus"
	"go.temporal.io/sdk/testsuite"
)

// looks are shards whose workflows are in some state, by shard.
type looks struct {
	ShardWorkflows
	state map[string]string
	began func()
}

func (l looks) Look(_ context.Context, _ telemetry.StreamID, shard string) (string, error) {
	l.began()
	return l.state[shard], nil
}

// said are the states in the metrics of one stage.
func said(t *testing.T, stage string) (states []string) {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(shardStates)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			if labels["stage"] == stage && metric.GetGauge().GetValue() == 1 {
				states = append(states, labels["shard"]+" is "+labels["state"])
			}
		}
	}
	slices.Sort(states)
	return states
}

// TestShardsThatNoWorkerHasAreInTheMetrics: those that are tripped or paused are
// seen by who looks after the stream, for as long as it does.
func TestShardsThatNoWorkerHasAreInTheMetrics(t *testing.T) {
	t.Parallel()
	s := &Supervisor{Stage: "a test", Stream: telemetry.StreamID{Name: "s"}, Shards: listed{"a", "b", "c"}}
	call := func(in []ShardState, now map[string]string) (during []string, next []ShardState) {
		s.Workflows = looks{state: now, began: func() { during = said(t, "a test") }}
		env := new(testsuite.WorkflowTestSuite).NewTestActivityEnvironment()
		env.RegisterActivity(s.SuperviseShards)
		encoded, err := env.ExecuteActivity(s.SuperviseShards, Input{Stream: "s", Shards: in, For: time.Minute})
		var result Result
		if err == nil {
			err = encoded.Get(&result)
		}
		if err != nil {
			t.Fatal(err)
		}
		if left := said(t, "a test"); len(left) > 0 {
			t.Errorf("the gauges outlive the call, with %v", left)
		}
		return during, result.Shards
	}
	_, known := call(nil, map[string]string{"a": control.StateRunning, "b": control.StateTripped, "c": control.StatePaused})
	during, known := call(known, map[string]string{"a": control.StateRunning, "b": control.StateRunning, "c": control.StatePaused})
	if want := []string{"a is running", "b is tripped", "c is paused"}; !slices.Equal(during, want) {
		t.Errorf("the gauges say %v, want %v", during, want)
	}
	during, _ = call(known, map[string]string{"a": control.StateRunning, "b": control.StateRunning, "c": control.StateRunning})
	if want := []string{"a is running", "b is running", "c is paused"}; !slices.Equal(during, want) {
		t.Errorf("after a change the gauges say %v, want %v", during, want)
	}
}

// TestReconcileIsStartedAgainAndAgain, also when that has failed, until another
// worker looks after the shards.
func TestReconcileIsStartedAgainAndAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		starts := 0
		s := &Supervisor{Reconcile: func(context.Context) error {
			starts++
			return errors.New("Temporal is made to be away")
		}}
		ctx, cancel := context.WithTimeout(t.Context(), 10*reconcileAgainEvery+time.Second)
		defer cancel()
		s.keepReconciling(ctx)
		if starts < 10 || starts > 21 { // each wait is between a half and the whole
			t.Errorf("in ten of its waits it was started %d times", starts)
		}
	})
}
