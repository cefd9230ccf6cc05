package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/config"
	"millrace/test/faultproxy"
)

// harness is what serves all scenarios: the servers, proxies before them, and
// a pipeline behind the proxies.
type harness struct {
	options            options
	stack              *local.Stack
	programs           pipeline.Programs
	aws, elasticsearch *faultproxy.Proxy
	streams            *kinesis.Client // past the proxy

	env               []string // that leads programs to the servers
	resources         config.Resources
	temporal          client.Client
	pipeline          *pipeline.Pipeline
	collector, worker *pipeline.Program
	keys              map[string]string // of the collector, by tenant
	days              int               // that scenarios have had for themselves
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
	h.env = nil
	for _, variable := range h.stack.Env() {
		h.env = append(h.env, behind.Replace(variable))
	}
	h.resources = resources
	settings := pipeline.Settings{Programs: programs, Shards: 2, Dir: h.stack.LogDir()}
	namespace := client.DefaultNamespace
	if name != "" {
		namespace = name
		h.resources = config.Resources{Stream: name, Queue: name, DeadLetters: name + "-dlq", Bucket: name}
		settings.Dir = filepath.Join(h.stack.LogDir(), name)
		if err := os.MkdirAll(settings.Dir, 0o755); err != nil {
			return fmt.Errorf("make a folder for logs: %w", err)
		}
		if err := h.makeNamespace(ctx, name); err != nil {
			return err
		}
		h.env = append(h.env, "TEMPORAL_NAMESPACE="+name)
	}
	if h.temporal, err = h.dial(namespace); err != nil {
		return err
	}
	settings.Servers, settings.Resources = h.env, h.resources
	h.pipeline = pipeline.New(settings)
	if err := h.pipeline.Setup(ctx); err != nil {
		return err
	}
	h.keys = map[string]string{}
	for _, s := range scenarios { // a collector learns of others too late
		if h.keys[s.tenant()], err = h.pipeline.CreateKey(ctx, s.tenant()); err != nil {
			return err
		}
	}
	if h.collector, err = h.pipeline.StartCollector(ctx); err != nil {
		return err
	}
	if h.worker, err = h.pipeline.StartWorker(ctx, workerEnv); err != nil {
		return err
	}
	if err := h.pipeline.StartWorkflows(ctx); err != nil {
		return err
	}
	return h.pipeline.AwaitShards(ctx)
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

func (h *harness) dial(namespace string) (client.Client, error) {
	c, err := client.NewLazyClient(client.Options{
		HostPort: h.stack.Service(local.Temporal).Address(), Namespace: namespace, Logger: log.NewStructuredLogger(quiet),
	})
	if err != nil {
		return nil, fmt.Errorf("make the Temporal client: %w", err)
	}
	return c, nil
}

func (h *harness) makeNamespace(ctx context.Context, name string) error {
	c, err := h.dial(name)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err = c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	}); err != nil {
		return fmt.Errorf("register a namespace: %w", err)
	}
	// The server's caches learn of it a little later.
	return poll(ctx, func() (bool, error) {
		_, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: name})
		return err == nil, nil
	})
}

// pollInterval lies between two looks at a condition.
const pollInterval = 500 * time.Millisecond

// poll waits until a condition holds, or ctx ends.
func poll(ctx context.Context, condition func() (bool, error)) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if done, err := condition(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
