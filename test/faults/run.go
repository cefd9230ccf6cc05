package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/load"
	"millrace/test/audit"
	"millrace/test/faultproxy"
)

const (
	bucket       = "millrace-telemetry" // the default of package config
	patience     = 3 * time.Minute      // for records to arrive after a fault
	pollInterval = 500 * time.Millisecond

	connections, perPost = 16, 50
)

// harness is what serves all scenarios.
type harness struct {
	options            options
	stack              *local.Stack
	aws, elasticsearch *faultproxy.Proxy
	pipeline           *pipeline.Pipeline
	collector, worker  *pipeline.Program
}

// running is a scenario under way.
type running struct {
	*harness
	scenario
	sender *load.Sender
	stores audit.Stores
}

// result is the last line.
type result struct {
	Scenarios  int    `json:"scenarios"`
	Passed     int    `json:"passed"`
	Accepted   uint64 `json:"accepted"`
	Lost       uint64 `json:"lost"`
	Duplicated uint64 `json:"duplicated"`
}

func run(ctx context.Context, o options) (err error) {
	chosen, err := choose(o.Only)
	if err != nil {
		return err
	}
	stack, programs, err := pipeline.StartServers(ctx, local.Options{Progress: os.Stdout})
	if err != nil {
		return err
	}
	h := &harness{options: o, stack: stack}
	defer func() { err = errors.Join(err, h.stop()) }()
	keys, err := h.start(ctx, programs, chosen)
	if err != nil {
		return err
	}
	var total result
	var wrong []error
	fmt.Printf("%-34s %8s %8s %8s %8s %6s %6s %9s\n", "scenario", "sent", "accepted", "indexed", "dead", "dupl.", "lost", "recovery")
	for i, s := range chosen {
		report, err := h.run(ctx, s, keys[i])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		total.Scenarios++
		total.Accepted += report.Accepted
		total.Lost += report.Lost
		total.Duplicated += report.Duplicated
		if err != nil {
			fmt.Printf("%2d %-31s failed: %v\n", s.number, s.name, err)
			wrong = append(wrong, fmt.Errorf("scenario %d %s: %w", s.number, s.name, err))
			continue
		}
		total.Passed++
	}
	return errors.Join(json.NewEncoder(os.Stdout).Encode(total), errors.Join(wrong...))
}

// start brings the pipeline up behind the proxies, with a tenant and key for
// each scenario.
func (h *harness) start(ctx context.Context, programs pipeline.Programs, chosen []scenario) (keys []string, err error) {
	aws, elasticsearch := h.stack.Service(local.AWS).URL(), h.stack.Service(local.Elasticsearch).URL()
	if h.aws, err = faultproxy.Start(ctx, aws); err != nil {
		return nil, err
	}
	if h.elasticsearch, err = faultproxy.Start(ctx, elasticsearch); err != nil {
		return nil, err
	}
	behind := strings.NewReplacer(aws, h.aws.URL(), elasticsearch, h.elasticsearch.URL())
	var env []string
	for _, variable := range h.stack.Env() {
		env = append(env, behind.Replace(variable))
	}
	h.pipeline = pipeline.New(pipeline.Settings{Programs: programs, Servers: env, Shards: 2, Dir: h.stack.LogDir()})
	if err := h.pipeline.Setup(ctx); err != nil {
		return nil, err
	}
	for _, s := range chosen {
		key, err := h.pipeline.CreateKey(ctx, s.tenant())
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if h.collector, err = h.pipeline.StartCollector(ctx); err != nil {
		return nil, err
	}
	if h.worker, err = h.pipeline.StartWorker(ctx, "MILLRACE_DEDUP_IDS=1000000"); err != nil {
		return nil, err
	}
	if err := h.pipeline.StartWorkflows(ctx); err != nil {
		return nil, err
	}
	return keys, h.pipeline.AwaitShards(ctx)
}

func (h *harness) stop() error {
	var errs []error
	if h.pipeline != nil {
		errs = append(errs, h.pipeline.Stop())
	}
	for _, proxy := range []*faultproxy.Proxy{h.aws, h.elasticsearch} {
		if proxy != nil {
			errs = append(errs, proxy.Close())
		}
	}
	return errors.Join(append(errs, h.stack.Stop())...)
}

// pass ends the faults.
func (h *harness) pass() {
	h.aws.Set()
	h.elasticsearch.Set()
}

func (s scenario) tenant() string { return "faults-" + strconv.Itoa(s.number) }

// run loads, breaks, waits until everything has arrived, and audits.
func (h *harness) run(ctx context.Context, what scenario, key string) (report audit.Report, err error) {
	source := &load.Source{Run: what.tenant() + "-" + strings.ToLower(rand.Text()[:8]), Start: time.Now(), Interval: time.Millisecond, BadShare: what.bad}
	s := &running{
		harness: h, scenario: what,
		sender: load.NewSender(source, load.Settings{
			URL: h.collector.URL, Key: key, Records: h.options.Records, Rate: h.options.Rate,
			Duplicates: what.duplicates, Connections: connections, PerPost: perPost,
		}),
		stores: audit.Stores{
			Elasticsearch: h.stack.Service(local.Elasticsearch).URL(), Tenant: what.tenant(), Bucket: bucket, S3: pipeline.S3(h.stack),
		},
	}
	defer h.pass()
	ended, err := s.load(ctx)
	if err != nil {
		return report, err
	}
	if report, err = s.await(ctx); err != nil {
		return report, err
	}
	counts := s.sender.Counts()
	fmt.Printf("%2d %-31s %8d %8d %8d %8d %6d %6d %7.1f s\n", s.number, s.name, counts.Posted+counts.Duplicates,
		report.Accepted, report.Indexed, report.DeadLettered, report.Duplicated, report.Lost, time.Since(ended).Seconds())
	return report, errors.Join(report.Clean(), s.happened(report))
}

// load posts while the fault goes on, and returns when both are over and when
// the fault was.
func (s *running) load(ctx context.Context) (ended time.Time, err error) {
	s.harness.aws.Set(s.scenario.aws...)
	s.harness.elasticsearch.Set(s.scenario.elasticsearch...)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.sender.Run(ctx) })
	if s.fault != nil {
		group.Go(func() error {
			err := s.fault(ctx, s)
			s.pass()
			ended = time.Now()
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return ended, err
	}
	if s.fault == nil {
		// What the load put on its way shall meet the rules too.
		if err := s.until(ctx, func() (bool, error) { return s.seen() == nil, nil }); err != nil {
			return ended, errors.Join(s.seen(), err)
		}
		s.pass()
		ended = time.Now()
	}
	return ended, nil
}

// await audits until nothing is lost any more, or patience is over.
func (s *running) await(ctx context.Context) (report audit.Report, err error) {
	deadline := time.Now().Add(patience)
	err = s.until(ctx, func() (bool, error) {
		report, err = audit.Run(ctx, s.stores, audit.Sent{Source: s.sender.Source, Accepted: &s.sender.Accepted})
		return report.Lost == 0 || time.Now().After(deadline), err
	})
	return report, err
}

// happened reports what a scenario needs to prove anything.
func (s *running) happened(report audit.Report) error {
	wrong := s.seen()
	if counts := s.sender.Counts(); counts.Refused+counts.GivenUp > 0 || report.Accepted != s.options.Records {
		wrong = errors.Join(wrong, fmt.Errorf("the sender counts %+v", counts))
	}
	if s.duplicates > 0 && s.sender.Counts().Duplicates == 0 {
		wrong = errors.Join(wrong, errors.New("no duplicate was posted"))
	}
	if report.DeadLettered != report.Bad || (s.bad > 0 && report.Bad == 0) {
		wrong = errors.Join(wrong, fmt.Errorf("%d bad records, %d dead-lettered", report.Bad, report.DeadLettered))
	}
	return wrong
}

// seen returns an error unless every rule stands in a proxy's log.
func (s *running) seen() error {
	var missing []error
	look := func(proxy *faultproxy.Proxy, rules []faultproxy.Rule) {
		for _, rule := range rules {
			if times, _ := proxy.Count(rule.Name); times == 0 {
				missing = append(missing, fmt.Errorf("no fault %q happened", rule.Name))
			}
		}
	}
	look(s.harness.aws, s.scenario.aws)
	look(s.harness.elasticsearch, s.scenario.elasticsearch)
	return errors.Join(missing...)
}

// until polls until a condition holds.
func (s *running) until(ctx context.Context, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience+time.Minute)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if done, err := condition(); done || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
