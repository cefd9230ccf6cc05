package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/deploy/local"
	"millrace/deploy/observability/prometheus"
	"millrace/deploy/pipeline"
	"millrace/test/kit/agents"
	"millrace/test/kit/audit"
	"millrace/test/kit/faultproxy"
)

const (
	tenant = "demo"
	guest  = "guest" // tenant of what a user posts, which the audit leaves out

	// The defaults of package config.
	bucket = "millrace-telemetry"
	queue  = "millrace-telemetry-queue"

	// canaryEvery is twice as often as by default, so that a short demo sees some.
	canaryEvery = 5 * time.Second

	// backupWithin is how long a record waits for its object of the backup:
	// minutes would be long here.
	backupWithin = 2 * time.Second
)

// demo is what runs.
type demo struct {
	options
	started  time.Time
	stack    *local.Stack
	agents   *agents.Agents
	programs pipeline.Programs

	proxy             *faultproxy.Proxy // before the collector's stream, and everything's queues
	watch             faultproxy.Rule   // that fills queued
	queued            audit.Queued
	unread            atomic.Pointer[error] // the first of a message that queued could not read
	pipeline          *pipeline.Pipeline
	collector, worker *pipeline.Program
	prometheus        *prometheus.Server // nil if there is none
	key, guestKey     string
	env               string // path of the file that a shell sources to use starter
	stores            audit.Stores
}

// run starts everything, shows it, and stops everything.
func run(ctx context.Context, o options) (err error) {
	d := &demo{options: o, started: time.Now()}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	outcome, err := func() (_ outcome, err error) {
		defer func() {
			if ended := (errEnded{}); errors.As(context.Cause(ctx), &ended) { // that is why the rest failed
				err = ended
			}
			err = errors.Join(err, d.stop())
		}()
		if err := d.start(ctx); err != nil {
			return outcome{}, err
		}
		for _, p := range []*pipeline.Program{d.collector, d.worker} {
			go func() {
				<-p.Ended()
				cancel(errEnded{p})
			}()
		}
		return d.show(ctx)
	}()
	if err != nil {
		return err
	}
	if !o.Once {
		return nil
	}
	return outcome.print(os.Stdout)
}

// errEnded says that one of our programs has ended that was to run.
type errEnded struct{ *pipeline.Program }

func (e errEnded) Error() string { return e.Name + " ended unexpectedly; its log is " + e.Log }

// say prints a line of what happens, in the form of the stack's own.
func say(about, format string, args ...any) {
	fmt.Printf("%-14s %s\n", about, fmt.Sprintf(format, args...))
}

// start brings everything up.
func (d *demo) start(ctx context.Context) error {
	root, err := local.FindRoot(".")
	if err != nil {
		return err
	}
	observer, err := d.startServers(ctx, root)
	if err != nil {
		return err
	}
	dir := d.stack.LogDir()
	if d.proxy, err = faultproxy.Start(ctx, d.stack.Service(local.AWS).URL()); err != nil {
		return fmt.Errorf("start the fault proxy: %w", err)
	}
	d.watch = faultproxy.Rule{Name: "watch", Operation: "SendMessageBatch", Fault: faultproxy.WatchMessages{Queue: queue, Taken: func(message string) {
		if err := d.queued.Take(message); err != nil {
			d.unread.CompareAndSwap(nil, &err)
		}
	}}}
	d.proxy.Set(d.watch)
	d.pipeline = pipeline.New(pipeline.Settings{
		Programs: d.programs, Servers: d.stack.Env(), Dir: dir, UsualPorts: true,
	})
	if err := d.pipeline.Setup(ctx); err != nil {
		return err
	}
	say("setup", "stream, queues, bucket, index templates and search attributes are there")
	if d.key, err = d.pipeline.CreateKey(ctx, tenant); err != nil {
		return err
	}
	if d.guestKey, err = d.pipeline.CreateKey(ctx, guest); err != nil {
		return err
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		d.collector, err = d.pipeline.StartCollector(groupCtx, "AWS_ENDPOINT_URL_KINESIS="+d.proxy.URL(), "AWS_ENDPOINT_URL_SQS="+d.proxy.URL())
		if err != nil {
			return err
		}
		canary, err := d.pipeline.CanaryOf(groupCtx, d.collector)
		if err != nil {
			return err
		}
		d.worker, err = d.pipeline.StartWorker(groupCtx, append(canary, "MILLRACE_BACKUP_WITHIN="+backupWithin.String(), "AWS_ENDPOINT_URL_SQS="+d.proxy.URL())...)
		return err
	})
	group.Go(func() error { return d.pipeline.StartWorkflows(groupCtx) })
	group.Go(func() error { return d.pipeline.StartBackup(groupCtx) })
	if err := group.Wait(); err != nil {
		return err
	}
	if err := d.pipeline.AwaitShards(ctx); err != nil {
		return err
	}
	if err := d.pipeline.StartCanary(ctx, canaryEvery); err != nil {
		return err
	}
	say("collector", "ready at %s (HTTP) and %s (gRPC)", d.collector.URL, d.collector.GRPC)
	say("operators", "/readyz and /metrics of the collector at %s, of the worker at %s", d.collector.Ops, d.worker.Ops)
	d.stores = audit.Stores{
		Elasticsearch: d.stack.Service(local.Elasticsearch).URL(), Tenant: tenant, Bucket: bucket,
		S3: pipeline.S3(d.stack),
	}
	if d.Observe {
		if err := d.observe(ctx, root, observer); err != nil {
			return err
		}
	}
	say("demo", "everything runs, %.0f s after the start", time.Since(d.started).Seconds())
	return d.share()
}

// share lets starter find the demo from another terminal, and says how.
func (d *demo) share() (err error) {
	variables := []string{
		"MILLRACE_COLLECTOR_URL=" + d.collector.URL, "MILLRACE_COLLECTOR_OPS_URL=" + d.collector.Ops, "MILLRACE_WORKER_URL=" + d.worker.URL,
		"MILLRACE_KEY=" + d.guestKey, "MILLRACE_KEYS=" + d.pipeline.Keys(), "MILLRACE_TEMPORAL_UI=" + d.stack.Service(local.Temporal).URL(),
	}
	if d.prometheus != nil {
		variables = append(variables, "MILLRACE_PROMETHEUS_URL="+d.prometheus.URL)
	}
	if d.env, err = d.stack.Share(variables...); err != nil {
		return err
	}
	say("starter", "in another terminal: ./task starter -- shards (or . %s, and go run ./starter shards)", d.env)
	say("console", "in another terminal: ./task starter -- console shows all of it live, on a page")
	return nil
}

// startServers starts the stack and builds our programs, and meanwhile installs
// the agents, and builds Prometheus where it is wanted.
func (d *demo) startServers(ctx context.Context, root string) (observer string, err error) {
	group, ctx := errgroup.WithContext(ctx)
	if d.Observe {
		say("prometheus", "building; the first time takes minutes")
		group.Go(func() (err error) {
			observer, err = prometheus.BuildServer(ctx, root)
			return err
		})
	}
	group.Go(func() (err error) {
		d.stack, d.programs, err = pipeline.StartServers(ctx, local.Options{
			Root: root, Name: local.NameDemo, Fresh: true, UsualPorts: true, Progress: os.Stdout,
		})
		return err
	})
	group.Go(func() (err error) {
		d.agents, err = agents.Install(ctx, root, os.Stdout)
		return err
	})
	return observer, group.Wait()
}

// stop ends what was started, in reverse.
func (d *demo) stop() error {
	var errs []error
	if d.stack != nil {
		say("demo", "stopping everything")
	}
	if d.prometheus != nil {
		errs = append(errs, d.prometheus.Stop())
	}
	if d.pipeline != nil {
		errs = append(errs, d.pipeline.Stop())
	}
	if d.proxy != nil {
		errs = append(errs, d.proxy.Close())
	}
	if d.stack != nil {
		errs = append(errs, d.stack.Stop())
	}
	return errors.Join(errs...)
}

// show posts telemetry, waits until it has arrived, and prints what became of
// it. Without --once it then stays.
func (d *demo) show(ctx context.Context) (outcome, error) {
	run := tenant + "-" + strings.ToLower(rand.Text()[:8])
	sent, err := d.send(ctx, run)
	if err != nil {
		return outcome{}, err
	}
	o, err := d.await(ctx, sent)
	if err != nil {
		return o, err
	}
	o.table(os.Stdout)
	if d.Once {
		return o, nil
	}
	if err := o.check(); err != nil {
		fmt.Println("\nNOT AS IT SHOULD BE:", err)
	}
	d.invite(os.Stdout)
	d.inviteToObserve(os.Stdout)
	<-ctx.Done()
	fmt.Println()
	if ended := (errEnded{}); errors.As(context.Cause(ctx), &ended) {
		return o, ended
	}
	return o, o.check()
}

// invite prints where things are and what to try.
func (d *demo) invite(w io.Writer) {
	temporal, elasticsearch := d.stack.Service(local.Temporal), d.stack.Service(local.Elasticsearch)
	fmt.Fprintf(w, `
Collector      %s (HTTP), %s (OTLP/gRPC)
Metrics        %s/metrics (collector), %s/metrics (worker)
Temporal UI    %s
Elasticsearch  %s
Logs           %s

Worth trying in another terminal:

  ./task starter -- console                 all of it live, on a page: open the address that it prints
  ./task starter -- shards                  how far is each shard?
  ./task starter -- doctor                  is everything as it should be?
  ./task starter -- canary status           can a record be searched soon?
  ./task starter -- dlq list                which records were given up, and why?
  ./task starter -- send --records 1000     post more
  ./task starter -- --help                  everything else; or . %s, and go run ./starter …

  curl -i -H 'Authorization: ApiKey %s' -H 'Content-Type: application/json' -d '[{"id":"mine-1","type":"event","timestamp":"%s","attributes":{"hello":"world"}}]' %s/v1/telemetry

  curl '%s/telemetry-*/_search?pretty&size=1&q=id:mine-1'

  %s workflow list --address %s

Stop everything with Ctrl-C.
`, d.collector.URL, d.collector.GRPC, d.collector.Ops, d.worker.Ops, temporal.URL(), elasticsearch.URL(), d.stack.LogDir(),
		d.env, d.guestKey, time.Now().UTC().Format(time.RFC3339), d.collector.URL, elasticsearch.URL(), temporal.TemporalCLI(), temporal.Address())
}
