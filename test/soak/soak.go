package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/load"
	"millrace/test/kit/audit"
)

const (
	tenant = "soak"
	bucket = "millrace-telemetry" // the default of package config

	// patience is how long records may take to arrive behind the load while
	// nothing moves.
	patience = 2 * time.Minute

	// Enough that answers may take their time.
	connections, perPost = 16, 50

	progressInterval = 10 * time.Second
	pollInterval     = 5 * time.Second
)

// soak is what runs.
type soak struct {
	options
	started           time.Time
	collector, worker *pipeline.Program
	sender            *load.Sender
	stores            audit.Stores
	temporal          client.Client
	kills             int
	residual          residual
}

// result is the last line.
type result struct {
	Accepted   uint64 `json:"accepted"`
	Indexed    uint64 `json:"indexed"`
	Lost       uint64 `json:"lost"`
	Duplicated uint64 `json:"duplicated"`
	Kills      int    `json:"kills"`
	// Audits went through the whole backup; the last one checked as many records as Audited,
	// and ResidualMax is the most that one of them found nowhere.
	Audits      int   `json:"audits"`
	Audited     int64 `json:"audited"`
	ResidualMax int64 `json:"residual_max"`
}

func run(ctx context.Context, o options) error {
	s := &soak{options: o}
	report, err := s.inPipeline(ctx)
	if err != nil {
		return err
	}
	r := result{report.Accepted, report.Indexed, report.Lost, report.Duplicated, s.kills, s.residual.audits, s.residual.last.Checked, s.residual.most}
	err = json.NewEncoder(os.Stdout).Encode(r)
	if r.Accepted != r.Indexed {
		err = errors.Join(err, fmt.Errorf("%d records were accepted, %d of them are indexed", r.Accepted, r.Indexed))
	}
	if r.ResidualMax > 0 {
		err = errors.Join(err, fmt.Errorf("%d records of the backup are missing", r.ResidualMax))
	}
	if report.Others > 0 {
		err = errors.Join(err, fmt.Errorf("%d documents are unaccounted for", report.Others))
	}
	return errors.Join(err, report.Clean())
}

// inPipeline starts everything, soaks it, and stops everything.
func (s *soak) inPipeline(ctx context.Context) (report audit.Report, err error) {
	// Kinesalite reads a range of its records; MiniStack looks at all that a stream
	// has had for each read, and answers too late after some 200,000.
	stack, programs, err := pipeline.StartServers(ctx, local.Options{Progress: os.Stdout, Services: []string{local.Kinesalite}})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, stack.Stop()) }()
	servers := append(stack.Env(), "AWS_ENDPOINT_URL_KINESIS="+stack.Service(local.Kinesalite).URL())
	p := pipeline.New(pipeline.Settings{Programs: programs, Servers: servers, Form: s.Form, Dir: stack.LogDir()})
	if err := p.Setup(ctx); err != nil {
		return report, err
	}
	key, err := p.CreateKey(ctx, tenant)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	if s.collector, err = p.StartCollector(ctx); err != nil {
		return report, err
	}
	if s.worker, err = p.StartWorker(ctx, backupWithin); err != nil {
		return report, err
	}
	if err := p.StartWorkflows(ctx); err != nil {
		return report, err
	}
	if err := p.StartBackup(ctx); err != nil {
		return report, err
	}
	if s.temporal, err = pipeline.DialQuietly(stack.Service(local.Temporal).Address(), "default"); err != nil {
		return report, err
	}
	defer s.temporal.Close()
	s.stores = audit.Stores{
		Elasticsearch: stack.Service(local.Elasticsearch).URL(), Tenant: tenant, Bucket: bucket, S3: pipeline.S3(stack),
	}
	s.sender = load.NewSender(
		&load.Source{Run: tenant + "-" + strings.ToLower(rand.Text()[:8]), Start: time.Now(), Interval: time.Millisecond},
		load.Settings{URL: s.collector.URL, Key: key, For: s.For, Rate: s.Rate, Duplicates: s.Duplicates, Connections: connections, PerPost: perPost},
	)
	s.started = time.Now()
	if err := s.load(ctx); err != nil {
		return report, err
	}
	if report, err = s.await(ctx); err != nil {
		return report, err
	}
	return report, s.auditAll(ctx)
}

func (s *soak) say(format string, args ...any) {
	fmt.Printf("%7.0f s  %s\n", time.Since(s.started).Seconds(), fmt.Sprintf(format, args...))
}

// load posts, and kills the worker meanwhile.
func (s *soak) load(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-s.collector.Ended():
			cancel(fmt.Errorf("the collector ended unexpectedly; its log is %s", s.collector.Log))
		case <-ctx.Done():
		}
	}()
	loaded := make(chan struct{})
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		defer close(loaded)
		return s.sender.Run(ctx)
	})
	group.Go(func() error { return s.kill(ctx, loaded) })
	group.Go(func() error { return s.auditMeanwhile(ctx, loaded) })
	group.Go(func() error {
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			select {
			case <-loaded:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-tick.C:
				if err := s.progress(ctx); err != nil {
					return err
				}
			}
		}
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if counts := s.sender.Counts(); counts.Refused+counts.GivenUp > 0 {
		return fmt.Errorf("post telemetry: the collector refused %d records and never answered for %d; its log is %s", counts.Refused, counts.GivenUp, s.collector.Log)
	}
	return nil
}

// kill ends the worker at every interval and starts it again, while there is
// load.
func (s *soak) kill(ctx context.Context, loaded <-chan struct{}) error {
	tick := time.NewTicker(s.Every)
	defer tick.Stop()
	for {
		select {
		case <-loaded:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		select {
		case <-s.worker.Ended():
			return fmt.Errorf("the worker ended unexpectedly; its log is %s", s.worker.Log)
		default:
		}
		s.worker.Kill()
		s.kills++
		s.say("killed the worker, time %d", s.kills)
		if err := s.worker.Restart(ctx); err != nil {
			return err
		}
	}
}

func (s *soak) progress(ctx context.Context) error {
	indexed, err := s.stores.Indexed(ctx)
	if err != nil {
		return fmt.Errorf("count documents: %w", err)
	}
	s.say("%8d accepted  %8d indexed", s.sender.Accepted.Len(), indexed)
	return nil
}

// await waits until everything is indexed, or nothing moves any more, and
// audits.
func (s *soak) await(ctx context.Context) (audit.Report, error) {
	last, moved := uint64(0), time.Now()
	for {
		indexed, err := s.stores.Indexed(ctx)
		if err != nil {
			return audit.Report{}, fmt.Errorf("count documents: %w", err)
		}
		s.say("%8d accepted  %8d indexed", s.sender.Accepted.Len(), indexed)
		if indexed != last {
			last, moved = indexed, time.Now()
		}
		if indexed >= s.sender.Accepted.Len() || time.Since(moved) > patience {
			s.say("reading every document")
			return audit.Run(ctx, s.stores, audit.Sent{Source: s.sender.Source, Accepted: &s.sender.Accepted})
		}
		select {
		case <-ctx.Done():
			return audit.Report{}, ctx.Err()
		case <-time.After(pollInterval):
		}
	}
}
