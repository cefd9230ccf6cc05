package main

import (
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.temporal.io/sdk/worker"

	"millrace/deploy/local/localtest"
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

// TestFormatRefusesContainersBesideAnEarlierWorker, whatever queue it polls.
func TestFormatRefusesContainersBesideAnEarlierWorker(t *testing.T) {
	t.Parallel()
	p, _ := newStreamed(t)
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
	p.fails("format pack", "do not read containers: upgrade them", "an earlier one on "+workflows.SweepQueue)
	p.must("format", "single; it was never set")
	p.must("format single", "single; it was never set")
}
