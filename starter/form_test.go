package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.temporal.io/sdk/worker"

	"millrace/deploy/local/localtest"
	"millrace/internal/container"
	"millrace/internal/stream"
	"millrace/workflows"
)

// newStreamed makes a pipeline without workers, and its stream.
func newStreamed(t *testing.T) (pipeline, *stream.Stream) {
	t.Helper()
	p := newPipeline(t, false)
	name, client := localtest.Name(t, "stream"), kinesis.NewFromConfig(localtest.AWS(t))
	p.env = append(p.env, append(localAWS(t), "MILLRACE_STREAM="+name)...)
	t.Cleanup(func() {
		_, _ = client.DeleteStream(context.Background(), &kinesis.DeleteStreamInput{StreamName: &name})
	})
	if _, err := stream.Create(t.Context(), client, name, 1, stream.ShortestRetention); err != nil {
		t.Fatal(err)
	}
	s, err := stream.Open(t.Context(), client, name, stream.Settings{})
	if err != nil {
		t.Fatal(err)
	}
	return p, s
}

func TestFormatIsShownAndSet(t *testing.T) {
	t.Parallel()
	p, _ := newStreamed(t)
	p.must("format", "single; it was never set")
	p.must("format kpl", "kpl since ")
	var report formReport
	p.mustJSON(&report, "format pack --json")
	if report.Form != "pack" || report.Since.IsZero() {
		t.Errorf("it is %+v", report)
	}
	p.must("format", "pack since ")
	p.fails("format avro", `"avro" is no form of records: single, kpl or pack`)
	p.must("format single", "no reader has a container ahead of it")
}

// TestFormatNamesShardOfAWriterThatDoesNotKnowIt, though all were to know it an hour ago.
func TestFormatNamesShardOfAWriterThatDoesNotKnowIt(t *testing.T) {
	t.Parallel()
	p, s := newStreamed(t)
	client, name := kinesis.NewFromConfig(localtest.AWS(t)), s.Name()
	if _, err := client.AddTagsToStream(t.Context(), &kinesis.AddTagsToStreamInput{
		StreamName: &name, Tags: map[string]string{stream.FormTag: fmt.Sprintf("single@%d", time.Now().Add(-time.Hour).Unix())},
	}); err != nil {
		t.Fatal(err)
	}
	p.must("format", "no reader has a container ahead of it")
	if _, err := client.PutRecord(t.Context(), &kinesis.PutRecordInput{
		StreamName: &name, PartitionKey: &name, Data: container.AppendPack(nil, nil),
	}); err != nil {
		t.Fatal(err)
	}
	p.must("format", "do not start workers of a version that knows none", "a writer has put a container into shard shardId-000000000000 at ")
}

// earlierWorker polls one queue, as a version does that reads no containers.
func earlierWorker(t *testing.T, p pipeline) {
	t.Helper()
	w := worker.New(p.client, workflows.SweepQueue, worker.Options{Identity: "an earlier one"})
	w.RegisterActivity(func(context.Context) error { return nil })
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	await(t, "its first poll", func() bool {
		pollers, err := pollersOf(t.Context(), p.client, workflows.SweepQueue)
		return err == nil && len(pollers) > 0
	})
}

// TestFormatRefusesContainersBesideAnEarlierWorker, whatever queue it polls.
func TestFormatRefusesContainersBesideAnEarlierWorker(t *testing.T) {
	t.Parallel()
	p, _ := newStreamed(t)
	earlierWorker(t, p)
	p.fails("format pack", "do not read containers: upgrade them", "an earlier one on "+workflows.SweepQueue)
	p.must("format", "single; it was never set")
	p.must("format single", "single; it was never set")
}

// TestSetupLeavesSinglesBesideAnEarlierWorker, and to a stream that was there before.
func TestSetupLeavesSinglesBesideAnEarlierWorker(t *testing.T) {
	t.Parallel()
	p, name := newPipeline(t, false), localtest.Name(t, "")
	p.env = append(p.env, append(localAWS(t), "MILLRACE_STREAM="+name, "MILLRACE_QUEUE="+name, "MILLRACE_DLQ="+name+"-dlq", "MILLRACE_BUCKET="+name,
		"MILLRACE_ELASTICSEARCH_URL="+localtest.Elasticsearch(t))...)
	removeLater(t, name)
	earlierWorker(t, p)
	p.fails("setup --replicas 0", "form of records: FAILED: workers of an earlier version do not read containers", "run `starter format pack`")
	p.must("setup --replicas 0", "form of records: there already, single (it was never set: starter format pack puts many")
}
