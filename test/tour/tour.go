package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"millrace/activities/canary"
	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/load"
	"millrace/test/kit/alarms"
	"millrace/test/kit/audit"
	"millrace/test/kit/browser"
	"millrace/test/kit/faultproxy"
	"millrace/test/kit/poll"
)

const (
	tenant   = "tour"
	careless = "careless"           // a tenant whose agents send bad records for a while
	bucket   = "millrace-telemetry" // the default of package config

	canaryEvery = 5 * time.Second

	// patience is how long the tour waits for one thing.
	patience = 3 * time.Minute
)

// workerEnv is of a worker that writes objects of its backup soon, and says early that it waits.
var workerEnv = []string{"MILLRACE_DEDUP_IDS=1000000", "MILLRACE_BACKUP_WITHIN=5s", "MILLRACE_WAITING_AFTER=5s"}

// repository is where snapshots go.
var repository = []string{"MILLRACE_SNAPSHOT_REPOSITORY=tour", "MILLRACE_SNAPSHOT_REPOSITORY_TYPE=fs"}

// schedules are those of a pipeline that is well kept.
var schedules = [][]string{
	{"snapshot", "schedule"}, {"audit", "schedule"}, {"drill", "schedule", "--every", "7d"}, {"retention", "schedule", "--days", "default=14"},
}

// ignored are alerts on what comes once an hour, or takes half a minute: too rare, or too slow, for a Prometheus to which a
// second is a minute.
var ignored = []string{"AuditOld", "AuditsNotRun", "SnapshotOld", "SnapshotsNotTaken", "CanarySilent"}

// tour is what runs.
type tour struct {
	options
	stack              *local.Stack
	programs           pipeline.Programs
	prometheus         string // path of the program
	browser            *browser.Browser
	aws, elasticsearch *faultproxy.Proxy
	temporal           client.Client
	pipeline           *pipeline.Pipeline

	collector, worker, console *pipeline.Program
	alarms                     *alarms.Watcher
	stores                     audit.Stores
	canary                     counts            // of workers that are gone
	keys                       map[string]string // of the collector, by tenant
	bad                        *traffic          // of an agent's new version

	result result
}

// counts are of the records of the canary.
type counts struct{ posted, searchable float64 }

func run(ctx context.Context, o options) (err error) {
	t := &tour{options: o}
	if err := t.inPipeline(ctx); err != nil {
		return err
	}
	if o.Proofs {
		err = t.prove(ctx)
	}
	return errors.Join(json.NewEncoder(os.Stdout).Encode(t.result), t.result.check(o.Proofs), err)
}

// inPipeline starts everything, breaks it and looks, and stops everything.
func (t *tour) inPipeline(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, t.stop()) }()
	if err := t.install(ctx); err != nil {
		return err
	}
	if err := t.start(ctx); err != nil {
		return err
	}
	live := t.load(ctx, tenant, load.Source{})
	defer func() { err = errors.Join(err, live.stop()) }()
	if err := t.begin(ctx); err != nil {
		return err
	}
	for n, a := range acts {
		if err := t.play(ctx, n+1, a); err != nil {
			return fmt.Errorf("%s: %w", a.title, err)
		}
	}
	if err := t.measure(ctx); err != nil {
		return err
	}
	if err := live.stop(); err != nil {
		return err
	}
	return t.conclude(ctx, live.sender)
}

// install starts the servers, and meanwhile builds what is not there.
func (t *tour) install(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		t.stack, t.programs, err = pipeline.StartServers(ctx, local.Options{Progress: os.Stdout})
		return err
	})
	group.Go(func() (err error) {
		t.prometheus, err = alarms.Build(ctx)
		return err
	})
	group.Go(func() (err error) {
		t.browser, err = browser.Install(ctx)
		return err
	})
	return group.Wait()
}

// start brings a pipeline up behind proxies, with everything that an operator would give it.
func (t *tour) start(ctx context.Context) (err error) {
	elasticsearch, aws := t.stack.Service(local.Elasticsearch).URL(), t.stack.Service(local.AWS).URL()
	if t.aws, err = faultproxy.Start(ctx, aws); err != nil {
		return err
	}
	if t.elasticsearch, err = faultproxy.Start(ctx, elasticsearch); err != nil {
		return err
	}
	if t.temporal, err = pipeline.DialQuietly(t.stack.Service(local.Temporal).Address(), client.DefaultNamespace); err != nil {
		return err
	}
	behind := strings.NewReplacer(aws, t.aws.URL(), elasticsearch, t.elasticsearch.URL())
	servers := repository
	for _, variable := range t.stack.Env() {
		servers = append(servers, behind.Replace(variable))
	}
	t.stores = audit.Stores{Elasticsearch: elasticsearch, Bucket: bucket, S3: pipeline.S3(t.stack)}
	t.pipeline = pipeline.New(pipeline.Settings{Programs: t.programs, Servers: servers, Dir: t.stack.LogDir()})
	if err := t.pipeline.Setup(ctx); err != nil {
		return err
	}
	t.keys = map[string]string{}
	for _, who := range []string{tenant, careless} { // before the collector, which reads their file once in a while
		if t.keys[who], err = t.pipeline.CreateKey(ctx, who); err != nil {
			return err
		}
	}
	if t.collector, err = t.pipeline.StartCollector(ctx); err != nil {
		return err
	}
	env, err := t.pipeline.CanaryOf(ctx, t.collector)
	if err != nil {
		return err
	}
	if t.worker, err = t.pipeline.StartWorker(ctx, append(env, workerEnv...)...); err != nil {
		return err
	}
	if err := t.pipeline.StartWorkflows(ctx); err != nil {
		return err
	}
	if err := t.pipeline.StartBackup(ctx); err != nil {
		return err
	}
	if err := t.pipeline.AwaitShards(ctx); err != nil {
		return err
	}
	if err := t.pipeline.StartCanary(ctx, canaryEvery); err != nil {
		return err
	}
	for _, schedule := range schedules {
		if _, err := t.pipeline.Starter(ctx, schedule...); err != nil {
			return err
		}
	}
	if t.alarms, err = alarms.Start(ctx, t.prometheus, t.collector, t.worker, ignored...); err != nil {
		return err
	}
	t.console, err = t.pipeline.StartConsole(ctx, t.collector, t.worker, "--temporal-ui", t.stack.Service(local.Temporal).URL(), "--prometheus", t.alarms.URL)
	return err
}

func (t *tour) stop() error {
	var errs []error
	if t.alarms != nil {
		errs = append(errs, t.alarms.Stop())
	}
	if t.pipeline != nil {
		errs = append(errs, t.pipeline.Stop())
	}
	if t.temporal != nil {
		t.temporal.Close()
	}
	for _, proxy := range []*faultproxy.Proxy{t.aws, t.elasticsearch} {
		if proxy != nil {
			errs = append(errs, proxy.Close())
		}
	}
	if t.stack != nil {
		errs = append(errs, t.stack.Stop())
	}
	return errors.Join(errs...)
}

// traffic is records of a tenant that are posted until it is stopped.
type traffic struct {
	sender *load.Sender
	stop   func() error // another call does nothing
}

// load begins to post records of a tenant.
func (t *tour) load(ctx context.Context, tenant string, source load.Source) *traffic {
	source.Run, source.Start, source.Interval = tenant+"-"+strings.ToLower(rand.Text()[:8]), time.Now(), time.Millisecond
	sender := load.NewSender(&source, load.Settings{URL: t.collector.URL, Key: t.keys[tenant], For: 24 * time.Hour, Rate: t.Rate, Duplicates: 0.02, PerPost: 20})
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- sender.Run(ctx) }()
	return &traffic{sender, sync.OnceValue(func() error {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			return fmt.Errorf("post telemetry: %w", err)
		}
		return nil
	})}
}

// begin waits until records are indexed at once, and takes a first snapshot.
func (t *tour) begin(ctx context.Context) error {
	if err := until(ctx, "the first records to be indexed", func() (bool, error) {
		n, err := t.stores.Indexed(ctx)
		return n > uint64(10*t.Rate), err
	}); err != nil {
		return err
	}
	_, err := t.pipeline.Starter(ctx, "snapshot", "take", "--wait", patience.String())
	return err
}

// countCanary adds what a worker that is about to go has counted.
func (t *tour) countCanary(ctx context.Context) error {
	for label, to := range map[string]*float64{"": &t.canary.posted, `result="` + canary.Searchable + `"`: &t.canary.searchable} {
		n, err := t.worker.Metric(ctx, "millrace_canary_runs_total", label)
		if err != nil {
			return err
		}
		*to += n
	}
	return nil
}

// conclude waits until every record that was accepted is somewhere, and says if one is not.
func (t *tour) conclude(ctx context.Context, sender *load.Sender) error {
	stores := t.stores
	stores.Tenant = tenant
	var report audit.Report
	err := until(ctx, "the last records", func() (_ bool, err error) {
		report, err = audit.Run(ctx, stores, audit.Sent{Source: sender.Source, Accepted: &sender.Accepted})
		return err == nil && report.Lost == 0, nil
	})
	fmt.Printf("\n%d records were accepted, %d of them are indexed, %d lost, %d there twice\n", report.Accepted, report.Indexed, report.Lost, report.Duplicated)
	t.result.Accepted, t.result.Lost = report.Accepted, report.Lost
	return errors.Join(err, report.Clean())
}

// until polls until a condition holds.
func until(ctx context.Context, what string, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("waited too long for "+what))
	defer cancel()
	return poll.Until(ctx, condition)
}

// picture is the path of one.
func (t *tour) picture(name string) string { return filepath.Join(t.Images, name+".png") }
