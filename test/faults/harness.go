package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/config"
	"millrace/test/kit/alarms"
	"millrace/test/kit/faultproxy"
)

// harness is what serves all scenarios: the servers, proxies before them, and
// a pipeline behind the proxies.
type harness struct {
	options            options
	stack              *local.Stack
	programs           pipeline.Programs
	prometheus         string          // path of the program; empty: nothing watches alerts
	watcher            *alarms.Watcher // of the scenario under way; nil: none
	aws, elasticsearch *faultproxy.Proxy
	streams            *kinesis.Client // past the proxy
	queues             *sqs.Client     // past the proxy

	env               []string // that leads programs to the servers
	resources         config.Resources
	deadLetters       string // address of the queue
	temporal          client.Client
	pipeline          *pipeline.Pipeline
	collector, worker *pipeline.Program
	keys              map[string]string // of the collector, by tenant
	days              int               // that scenarios have had for themselves
	last              time.Time         // when the last scenario ended; zero before
}

// Defaults of package config.
var resources = config.Resources{
	Stream: "millrace-telemetry-stream", Queue: "millrace-telemetry-queue", DeadLetters: "millrace-telemetry-dlq", Bucket: "millrace-telemetry",
}

// open starts the proxies.
func (h *harness) open(ctx context.Context) (err error) {
	elasticsearch, streams := h.stack.Service(local.Elasticsearch).URL(), h.stack.Service(local.Kinesalite).URL()
	if h.aws, err = faultproxy.Start(ctx, h.stack.Service(local.AWS).URL(), faultproxy.Route{Service: "Kinesis_20131202", Target: streams}); err != nil {
		return err
	}
	h.streams = kinesis.NewFromConfig(local.AWSConfig(streams))
	h.queues = sqs.NewFromConfig(local.AWSConfig(h.stack.Service(local.AWS).URL()))
	h.elasticsearch, err = faultproxy.Start(ctx, elasticsearch)
	return err
}

func (h *harness) close() error {
	err := h.stop()
	for _, proxy := range []*faultproxy.Proxy{h.aws, h.elasticsearch} {
		if proxy != nil {
			err = errors.Join(err, proxy.Close())
		}
	}
	return errors.Join(err, h.stack.Stop())
}

// start brings a pipeline up behind the proxies, with a tenant and key for each
// scenario. With a name, it has everything for itself: whatever others leave
// behind is not its.
func (h *harness) start(ctx context.Context, programs pipeline.Programs, name string, scenarios ...scenario) (err error) {
	h.pass()
	behind := strings.NewReplacer(
		h.stack.Service(local.AWS).URL(), h.aws.URL(), h.stack.Service(local.Elasticsearch).URL(), h.elasticsearch.URL())
	settings := pipeline.Settings{Programs: programs, Servers: h.stack.Env(), Resources: resources, Dir: h.stack.LogDir()}
	namespace := client.DefaultNamespace
	if name != "" {
		namespace = name
		if settings, err = pipeline.Apart(ctx, h.stack, programs, name); err != nil {
			return err
		}
	}
	if h.temporal, err = pipeline.DialQuietly(h.stack.Service(local.Temporal).Address(), namespace); err != nil {
		return err
	}
	h.env = nil
	for _, variable := range settings.Servers {
		h.env = append(h.env, behind.Replace(variable))
	}
	settings.Servers, settings.Shards, settings.Form = h.env, 2, h.options.Form
	h.resources, h.pipeline = settings.Resources, pipeline.New(settings)
	if err := h.pipeline.Setup(ctx); err != nil {
		return err
	}
	found, err := h.queues.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &h.resources.DeadLetters})
	if err != nil {
		return fmt.Errorf("find the dead-letter queue: %w", err)
	}
	h.deadLetters = *found.QueueUrl
	h.keys = map[string]string{}
	for _, s := range scenarios { // a collector learns of others too late
		if h.keys[s.tenant()], err = h.pipeline.CreateKey(ctx, s.tenant()); err != nil {
			return err
		}
	}
	if h.keys[stranger], err = h.pipeline.CreateKey(ctx, stranger); err != nil {
		return err
	}
	if h.collector, err = h.pipeline.StartCollector(ctx, pipeline.DefaultQuotas...); err != nil {
		return err
	}
	if h.worker, err = h.pipeline.StartWorker(ctx, workerEnv); err != nil {
		return err
	}
	if err := h.pipeline.StartWorkflows(ctx); err != nil {
		return err
	}
	if err := h.pipeline.AwaitShards(ctx); err != nil {
		return err
	}
	return h.pauseLetters(ctx)
}

// pauseLetters leaves the letters in the dead-letter queue, where the audit
// reads them.
func (h *harness) pauseLetters(ctx context.Context) error {
	_, err := h.pipeline.Starter(ctx, "letters", "pause", "--reason", "the audit reads them")
	return err
}

// workerEnv keeps a worker small: the memory of its cache is taken at once.
const workerEnv = "MILLRACE_DEDUP_IDS=1000000"

// stop ends the pipeline.
func (h *harness) stop() (err error) {
	if h.pipeline != nil {
		err = h.pipeline.Stop()
		h.pipeline = nil
	}
	if h.temporal != nil {
		h.temporal.Close()
		h.temporal = nil
	}
	return err
}

// mend starts again what a scenario that failed has left dead.
func (h *harness) mend(ctx context.Context) error {
	h.pass()
	for _, server := range h.stack.Services() {
		if server.Pid() == 0 {
			if err := server.Restart(ctx); err != nil {
				return err
			}
		}
	}
	for _, program := range []*pipeline.Program{h.collector, h.worker} {
		select {
		case <-program.Ended():
			if err := program.Restart(ctx); err != nil {
				return err
			}
		default:
		}
	}
	return nil
}

// pass ends the faults of the proxies.
func (h *harness) pass() {
	h.aws.Set()
	h.elasticsearch.Set()
}
