package launch

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/activities/process"
	"millrace/deploy/local/localtest"
	"millrace/internal/indexing"
	"millrace/internal/outcome"
	"millrace/internal/telemetry"
	"millrace/workflows"
)

var (
	testStream = telemetry.StreamID{Name: "s", ARN: "arn:s", Created: time.Unix(1_800_000_000, 0).UTC()}
	wholeRange = telemetry.Range{Shard: "shard", First: "1", Last: "10", Count: 10}
	badRecord  = telemetry.Range{Shard: "shard", First: "5", Last: "5", Count: 1}
	badCause   = outcome.Error{Type: "odd", Reason: "unknown", Status: 418}
)

// server is a launcher at a real Temporal.
type server struct {
	client.Client
	Launcher
	t *testing.T
}

func newServer(t *testing.T) server {
	t.Helper()
	c := localtest.TemporalClient(t, localtest.TemporalNamespace(t, workflows.SearchAttributes...))
	return server{c, Launcher{Client: c}, t}
}

// running reports whether the workflow of that id runs.
func (s server) running(id string) bool {
	described, err := s.DescribeWorkflowExecution(s.t.Context(), id, "")
	return err == nil && described.GetWorkflowExecutionInfo().GetCloseTime() == nil
}

// refusing has ProcessBatch try all records of a range again, until it buries
// them.
type refusing struct{ tries atomic.Int64 }

func (r *refusing) IndexRange(_ context.Context, in process.RangeInput) (process.RangeResult, error) {
	r.tries.Add(1)
	if in.Last {
		return buried(in), nil
	}
	return process.RangeResult{Left: []process.LeftRange{{Range: in.Range, Cause: badCause}}}, nil
}

func (r *refusing) BuryRange(_ context.Context, in process.RangeInput) (process.RangeResult, error) {
	return buried(in), nil
}

func buried(in process.RangeInput) process.RangeResult {
	n := int64(in.Range.Count)
	return process.RangeResult{Counts: indexing.Counts{Records: n, DeadLetters: n}}
}

// refuseRanges runs ProcessBatch on activities that refuse all records.
func (s server) refuseRanges() *refusing {
	s.t.Helper()
	r := &refusing{}
	for _, queue := range []string{workflows.ProcessQueue, workflows.RangeQueue} {
		w := worker.New(s.Client, queue, worker.Options{})
		w.RegisterWorkflow(workflows.ProcessBatch)
		w.RegisterActivityWithOptions(r.IndexRange, activity.RegisterOptions{Name: "IndexRange"})
		w.RegisterActivityWithOptions(r.BuryRange, activity.RegisterOptions{Name: "BuryRange"})
		if err := w.Start(); err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(w.Stop)
	}
	return r
}

// await polls until a condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Minute)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not happen in time", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}
