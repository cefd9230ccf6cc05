package main

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"millrace/deploy/local/localtest"
	"millrace/internal/archive"
	"millrace/internal/config"
	"millrace/internal/index"
	"millrace/internal/queue"
	"millrace/internal/stream"
)

// ward is an installation of a test, and the exam of it. What a case does not ask for is not made.
type ward struct {
	t *testing.T
	*exam
	cfg       aws.Config
	connected client.Client
}

func newWard(t *testing.T) *ward {
	d := doctorCommand{CheckTimeout: time.Minute, ClockSkew: 30 * time.Second, windowFlags: windowFlags{IndexDaysBack: 8, IndexDaysAhead: 1}}
	d.Sink.Kind, d.Flavor, d.Repository.Name = config.SinkElasticsearch, string(index.Elasticsearch), "millrace"
	name := localtest.Name(t, "")
	w := &ward{t: t, exam: newExam(d, "doctor", &config.Resources{Stream: name, Queue: name, DeadLetters: name + "-dlq", Bucket: name}, slog.New(slog.DiscardHandler))}
	w.loadAWS = func(context.Context) (aws.Config, error) { return w.cfg, nil }
	w.cfg = localtest.AWS(t)
	return w
}

// finds makes one check, and compares what it says.
func (w *ward) finds(name, status string, texts ...string) {
	w.t.Helper()
	for _, c := range w.checks() {
		if c.group+" "+c.name != name {
			continue
		}
		v := c.make(w.t.Context(), w.CheckTimeout)
		if v.Status != status {
			w.t.Errorf("%s: %+v, want %s", name, v, status)
		}
		for _, text := range texts {
			if !strings.Contains(v.Detail+"\n"+v.Do, text) {
				w.t.Errorf("%s: %+v does not say %q", name, v, text)
			}
		}
		if bad := status == checkFails || status == checkWarns; bad && v.Do == "" {
			w.t.Errorf("%s: %+v does not say what to do", name, v)
		}
		return
	}
	w.t.Errorf("there is no check %s", name)
}

// inTemporal gives it a namespace, with the pipeline's search attributes.
func (w *ward) inTemporal(attributes ...string) *ward {
	options := localtest.TemporalNamespace(w.t, attributes...)
	w.connected, w.namespace = localtest.TemporalClient(w.t, options), options.Namespace
	w.temporal.get = func(context.Context) (client.Client, error) { return w.connected, nil }
	return w
}

// installed gives it the stream, the queues and the bucket.
func (w *ward) installed() *ward {
	w.t.Helper()
	ctx := w.t.Context()
	if _, err := stream.Create(ctx, kinesis.NewFromConfig(w.cfg), w.names.Stream, 1, stream.ShortestRetention); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_, _ = kinesis.NewFromConfig(localtest.AWS(w.t)).DeleteStream(context.Background(), &kinesis.DeleteStreamInput{StreamName: &w.names.Stream})
	})
	for _, name := range []string{w.names.Queue, w.names.DeadLetters} {
		if err := queue.Create(ctx, sqs.NewFromConfig(w.cfg), name); err != nil {
			w.t.Fatal(err)
		}
	}
	if _, err := archive.Create(ctx, config.S3(w.cfg), w.names.Bucket); err != nil {
		w.t.Fatal(err)
	}
	return w
}

func (w *ward) bucketOf() *archive.Bucket { return archive.Open(config.S3(w.cfg), w.names.Bucket) }

// at puts servers before those of AWS, which answer some requests themselves.
func (w *ward) at(answer func(w http.ResponseWriter, r *http.Request) bool) *ward {
	w.cfg.BaseEndpoint = aws.String(answering(w.t, *w.cfg.BaseEndpoint, answer))
	return w
}

// searching gives it a cluster.
func (w *ward) searching(url string) *ward {
	w.URLs = []string{url}
	return w
}

// starts starts a workflow that no worker runs.
func (w *ward) starts(id, kind string, options client.StartWorkflowOptions) {
	w.t.Helper()
	options.ID, options.TaskQueue = id, "no-worker"
	if _, err := w.connected.ExecuteWorkflow(w.t.Context(), options, kind); err != nil {
		w.t.Fatal(err)
	}
}

// listed waits until Temporal lists a workflow.
func (w *ward) listed(kind string) {
	w.t.Helper()
	await(w.t, kind+" to be listed", func() bool {
		all, err := listRunning(w.t.Context(), w.connected, kind)
		return err == nil && len(all) > 0
	})
}

// polls has a worker poll a task queue.
func (w *ward) polls(queue string, options worker.Options) {
	w.t.Helper()
	options.DisableWorkflowWorker = true
	polling := worker.New(w.connected, queue, options)
	polling.RegisterActivityWithOptions(func(context.Context) error { return nil }, activity.RegisterOptions{Name: "Any"})
	if err := polling.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(polling.Stop)
	await(w.t, "the poll of "+queue, func() bool {
		pollers, err := pollersOf(w.t.Context(), w.connected, queue)
		return err == nil && len(pollers) > 0
	})
	if !options.DeploymentOptions.UseVersioning {
		return
	}
	await(w.t, "the deployment to be known", func() bool { // a moment after the poll
		_, err := w.connected.WorkerDeploymentClient().GetHandle(config.Deployment).Describe(w.t.Context(), client.WorkerDeploymentDescribeOptions{})
		return err == nil
	})
}
