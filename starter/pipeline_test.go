package main

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"

	"millrace/activities/process"
	"millrace/activities/supervise"
	"millrace/deploy/local/localtest"
	"millrace/internal/indexing"
	"millrace/internal/longcall"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/workflows"
	"millrace/workflows/launch"
)

// pipeline is a Temporal namespace with workers that run the real workflows
// and supervise shards that are made up.
type pipeline struct {
	operator
	client    client.Client
	namespace string
	stream    telemetry.StreamID
}

// Shards that are made up: the third comes from the second.
var listed = []stream.Shard{
	{ID: "shardId-000000000000"}, {ID: "shardId-000000000001"}, {ID: "shardId-000000000002", Parents: []string{"shardId-000000000001"}},
}

type lister struct{}

func (lister) Shards(context.Context) ([]stream.Shard, error) { return listed, nil }

const (
	streamName = "made-up"
	queueName  = "made-up-queue"
)

// newPipeline makes a namespace, and an operator who knows of it. With
// withWorker, a worker runs there.
func newPipeline(t *testing.T, withWorker bool) pipeline {
	t.Helper()
	options := localtest.TemporalNamespace(t, workflows.SearchAttributes...)
	p := pipeline{
		operator: newOperator(t, "TEMPORAL_ADDRESS="+options.HostPort, "TEMPORAL_NAMESPACE="+options.Namespace,
			"MILLRACE_STREAM="+streamName, "MILLRACE_QUEUE="+queueName, "MILLRACE_ANSWER_WITHIN=1m"), // this machine may be busy
		client: localtest.TemporalClient(t, options), namespace: options.Namespace,
		stream: telemetry.StreamID{Name: streamName, ARN: "arn", Created: time.Unix(1_795_392_000, 0).UTC()},
	}
	if withWorker {
		p.work()
	}
	return p
}

func (p pipeline) work() {
	p.t.Helper()
	supervisor := &supervise.Supervisor{Stream: p.stream, Shards: lister{}, Workflows: launch.Launcher{Client: p.client}}
	for _, queue := range []string{workflows.ProcessQueue, workflows.RangeQueue, workflows.IndexQueue, workflows.RedriveQueue} {
		w := worker.New(p.client, queue, worker.Options{
			MaxHeartbeatThrottleInterval: 50 * time.Millisecond, Interceptors: []interceptor.WorkerInterceptor{&longcall.Yield{}},
		})
		w.RegisterWorkflow(workflows.ProcessStream)
		w.RegisterWorkflow(workflows.ProcessShard)
		w.RegisterActivity(supervisor)
		w.RegisterActivityWithOptions(indexShard, activity.RegisterOptions{Name: "IndexShard"})
		w.RegisterWorkflow(workflows.ProcessBatch)
		w.RegisterActivityWithOptions(indexRange, activity.RegisterOptions{Name: "IndexRange"})
		w.RegisterActivityWithOptions(giveUpRange, activity.RegisterOptions{Name: "BuryRange"})
		w.RegisterWorkflow(workflows.Redrive)
		w.RegisterActivityWithOptions(redriveMessages, activity.RegisterOptions{Name: "RedriveMessages"})
		if err := w.Start(); err != nil {
			p.t.Fatal(err)
		}
		p.t.Cleanup(w.Stop)
	}
}

// sequence is as long as those of Kinesis.
const sequence = "49600000000000000000000000000000000000000000001234567890"

var readUpTo = time.Unix(1_795_392_060, 0).UTC()

// indexShard is an IndexShard that says how far it is until it is canceled,
// and then has come one record further.
func indexShard(ctx context.Context, in process.IndexInput) (process.IndexResult, error) {
	progress := process.Progress{
		Checkpoint: telemetry.Checkpoint{Sequence: sequence, ReadUpTo: readUpTo},
		Counts:     in.Counts, LagSeconds: 7, Worker: "made-up-worker", LastError: "es_rejected_execution_exception:\n  queue full",
	}
	for ctx.Err() == nil {
		activity.RecordHeartbeat(ctx, progress)
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	progress.Counts.Add(indexing.Counts{Records: 1, Indexed: 1})
	return process.IndexResult{Progress: progress}, nil
}
