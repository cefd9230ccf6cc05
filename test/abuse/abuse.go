package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/load"
	"millrace/test/hostile"
	"millrace/test/kinesis"
	"millrace/test/kit/audit"
	"millrace/test/kit/poll"
)

const (
	bucket = "millrace-telemetry" // the default of package config

	// The honest tenant's connections, and the records of its posts: few of
	// each, as agents have.
	connections, honestPerPost = 8, 20

	// shards have room for all records that one tenant's quota lets in at once,
	// beside the honest one's: a shard takes 1,000 a second. Of fewer, each burst
	// would make Kinesis refuse records of all.
	shards = 12

	// warmFor comes before all: the first indices are made, and programs have
	// their caches.
	warmFor = 20 * time.Second

	// patience is how long the honest records may take to arrive behind the load
	// while nothing moves.
	patience = 2 * time.Minute

	sayEvery = 15 * time.Second
)

// abuse is a run.
type abuse struct {
	options
	began             time.Time
	stack             *local.Stack
	pipeline          *pipeline.Pipeline
	collector, worker *pipeline.Program
	attackers         map[string]*hostile.Attacker
	peak              int64 // of the collector, in bytes
}

// honest is the honest tenant in one phase, under a name of its own, so that the
// phases have delays of their own.
type honest struct {
	tenant string
	sender *load.Sender
	report audit.Report
}

func run(ctx context.Context, o options) error {
	r, err := (&abuse{options: o, began: time.Now(), attackers: map[string]*hostile.Attacker{}}).inPipeline(ctx)
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(os.Stdout).Encode(r), r.check())
}

func (a *abuse) say(format string, args ...any) {
	fmt.Printf("%7.0f s  %s\n", time.Since(a.began).Seconds(), fmt.Sprintf(format, args...))
}

// inPipeline starts everything, has it abused, and stops everything.
func (a *abuse) inPipeline(ctx context.Context) (r result, err error) {
	stack, programs, err := pipeline.StartServers(ctx, local.Options{Progress: os.Stdout})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	a.stack = stack
	streams := httptest.NewServer(kinesis.New())
	defer streams.Close()
	servers := append(stack.Env(), "AWS_ENDPOINT_URL_KINESIS="+streams.URL)
	a.pipeline = pipeline.New(pipeline.Settings{Programs: programs, Servers: servers, Dir: stack.LogDir(), Shards: shards})
	defer func() { err = errors.Join(err, a.pipeline.Stop()) }()
	if err := a.pipeline.Setup(ctx); err != nil {
		return r, err
	}
	phases := []*honest{{tenant: "warm"}, {tenant: "honest-alone"}, {tenant: "honest"}}
	keys := map[string]string{}
	for _, name := range append(names(), phases[0].tenant, phases[1].tenant, phases[2].tenant) { // a collector learns of others too late
		if keys[name], err = a.pipeline.CreateKey(ctx, name); err != nil {
			return r, err
		}
	}
	if a.collector, err = a.pipeline.StartCollector(ctx, pipeline.DefaultQuotas...); err != nil {
		return r, err
	}
	if a.worker, err = a.pipeline.StartWorker(ctx, "MILLRACE_DEDUP_IDS=1000000"); err != nil {
		return r, err
	}
	if err := a.pipeline.StartWorkflows(ctx); err != nil {
		return r, err
	}
	if err := a.pipeline.AwaitShards(ctx); err != nil {
		return r, err
	}
	for _, name := range names() {
		a.attackers[name] = hostile.New(a.collector.URL, a.collector.GRPC, keys[name], phases[2].tenant)
	}
	for i, lasts := range []time.Duration{warmFor, a.Alone, a.For} {
		phases[i].sender = a.sender(phases[i].tenant, keys[phases[i].tenant], lasts)
	}
	return a.judge(ctx, phases)
}

func names() (all []string) {
	for _, h := range hostile.All {
		all = append(all, h.Name)
	}
	return all
}

func (a *abuse) sender(tenant, key string, lasts time.Duration) *load.Sender {
	return load.NewSender(
		&load.Source{Run: tenant + "-" + strings.ToLower(rand.Text()[:8]), Start: time.Now(), Interval: time.Millisecond},
		load.Settings{URL: a.collector.URL, Key: key, For: lasts, Rate: a.Rate, Connections: connections, PerPost: honestPerPost},
	)
}

// judge runs the phases one after the other, and returns their results.
func (a *abuse) judge(ctx context.Context, phases []*honest) (r result, err error) {
	for i, h := range phases {
		a.say("%s: %g records a second", h.tenant, a.Rate)
		if err := a.beside(ctx, h, i == len(phases)-1); err != nil {
			return r, err
		}
		if err := a.await(ctx, h); err != nil {
			return r, err
		}
	}
	alone, last := phases[1], phases[2]
	counts := last.sender.Counts()
	r = result{
		HonestAccepted: last.report.Accepted, HonestLost: last.report.Lost,
		HonestErrors:     counts.Retries + counts.Refused + counts.GivenUp,
		CollectorPeakMiB: a.peak >> 20,
	}
	if trouble := last.sender.Trouble(); trouble != "" {
		a.say("the last answer to the honest tenant that was no 2xx: %s", trouble)
	}
	before, after := alone.report.Delay.Quantile(0.99), last.report.Delay.Quantile(0.99)
	a.say("the honest tenant's delay at the 99th percentile: %v alone, %v beside hostile ones", before.Round(time.Millisecond), after.Round(time.Millisecond))
	if before > 0 {
		r.HonestP99Ratio = float64(int64(100*after/before)) / 100
	}
	if r.IndicesMade, err = a.indices(ctx); err != nil {
		return r, err
	}
	if r.ShardsWaiting, err = a.waiting(ctx); err != nil {
		return r, err
	}
	for _, h := range phases { // bodies that are altered, or good records given up
		if err := h.report.Clean(); err != nil {
			return r, errors.Join(json.NewEncoder(os.Stdout).Encode(r), r.check(), fmt.Errorf("the records of %s: %w", h.tenant, err))
		}
	}
	return r, nil
}

// beside has the honest tenant post, and with it the hostile ones.
func (a *abuse) beside(ctx context.Context, h *honest, attacked bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	group, ctx := errgroup.WithContext(ctx)
	attack, enough := context.WithCancel(ctx)
	defer enough()
	group.Go(func() error {
		defer enough()
		return h.sender.Run(ctx)
	})
	group.Go(func() error { return a.watch(attack, h) })
	if attacked {
		some, err := hostile.Choose(a.Only)
		if err != nil {
			return err
		}
		for _, who := range some {
			group.Go(func() error {
				if err := who.Attack(attack, a.attackers[who.Name]); err != nil && attack.Err() == nil {
					return fmt.Errorf("be the %s: %w", who.Name, err)
				}
				return nil
			})
		}
	}
	return group.Wait()
}

// watch says how far it is, and notes what the collector takes.
func (a *abuse) watch(ctx context.Context, h *honest) error {
	said := time.Now()
	for {
		peak, err := pipeline.PeakMemory(a.collector.Pid())
		if err != nil {
			return fmt.Errorf("the collector has ended: %w; its log is %s", err, a.collector.Log)
		}
		a.peak = max(a.peak, peak)
		if time.Since(said) >= sayEvery {
			said = time.Now()
			counts := h.sender.Counts()
			a.say("%8d accepted, %d refusals, collector %d MiB", counts.Accepted, counts.Retries+counts.Refused+counts.GivenUp, a.peak>>20)
			for _, name := range names() {
				if answers := a.attackers[name].Said(); answers != "" {
					a.say("    %-10s %s", name, answers)
				}
			}
		}
		if err := poll.For(ctx, time.Second); err != nil {
			return nil //nolint:nilerr // the load is over
		}
	}
}

// await waits until all of the honest tenant's records are indexed, or nothing
// moves any more, and audits.
func (a *abuse) await(ctx context.Context, h *honest) error {
	stores := audit.Stores{
		Elasticsearch: a.stack.Service(local.Elasticsearch).URL(), Index: days(a.began, time.Now()), Tenant: h.tenant, Bucket: bucket, S3: pipeline.S3(a.stack),
	}
	err := poll.While(ctx, time.Second, patience, func() (string, bool, error) {
		indexed, err := stores.Indexed(ctx)
		return fmt.Sprint(indexed), indexed >= h.sender.Accepted.Len(), err
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		a.say("%v of %d records of %s are indexed", err, h.sender.Accepted.Len(), h.tenant)
	}
	if h.report, err = audit.Run(ctx, stores, audit.Sent{Source: h.sender.Source, Accepted: &h.sender.Accepted}); err != nil {
		return err
	}
	a.say("%s: %d accepted, %d indexed, %d lost, average delay %v", h.tenant, h.report.Accepted, h.report.Indexed, h.report.Lost, h.report.Delay.Average().Round(time.Millisecond))
	return nil
}

// days is the pattern of the indices of the honest tenant, whose records are of
// now: a search over all that hostile ones can name is more than a server allows.
func days(first, last time.Time) string {
	var patterns []string
	for day := first.UTC().Truncate(24 * time.Hour); !day.After(last.UTC()); day = day.AddDate(0, 0, 1) {
		patterns = append(patterns, "telemetry-*-"+day.Format("2006.01.02"))
	}
	return strings.Join(patterns, ",")
}

// indices counts those that were made.
func (a *abuse) indices(ctx context.Context) (int, error) {
	var listed []struct{ Index string }
	stores := audit.Stores{Elasticsearch: a.stack.Service(local.Elasticsearch).URL()}
	if err := stores.Ask(ctx, http.MethodGet, "/_cat/indices/telemetry-*?format=json&expand_wildcards=all", nil, &listed); err != nil {
		return 0, err
	}
	return len(listed), nil
}

// waiting counts the shards that do not go on.
func (a *abuse) waiting(ctx context.Context) (n int, err error) {
	out, err := a.pipeline.Starter(ctx, "shards", "--json")
	if err != nil {
		return 0, err
	}
	var shards []struct{ State string }
	if err := json.Unmarshal([]byte(out), &shards); err != nil {
		return 0, fmt.Errorf("read the state of the shards: %w", err)
	}
	for _, shard := range shards {
		if shard.State != "running" {
			n++
		}
	}
	return n, nil
}
