package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/deploy/pipeline"
	"millrace/internal/config"
	"millrace/internal/container"
	"millrace/test/kit/audit"
	"millrace/test/kit/poll"
	"millrace/test/kit/tap"
)

const (
	// patience is how long Millrace may take until every record is where it
	// must be, whatever was measured by then.
	patience     = 2 * time.Minute
	pollInterval = 100 * time.Millisecond
	sayEvery     = 20 * time.Second
)

// measure makes one run of a contender.
func (e *experiment) measure(ctx context.Context, contender string, round int) (one outcome, err error) {
	stream := fmt.Sprintf("%s-%s-%d", e.name, contender, round+1)
	about := contender + " " + strconv.Itoa(round+1)
	dir := filepath.Join(e.dir, stream)
	if err := errors.Join(os.MkdirAll(dir, 0o755), e.forget(ctx), pipeline.MakeNamespace(ctx, e.temporal, stream)); err != nil {
		return one, fmt.Errorf("prepare the run: %w", err)
	}
	resources := config.Resources{Stream: stream, Queue: e.name, DeadLetters: e.name + "-dlq", Bucket: e.name}
	servers := append(slices.Clone(e.env), "TEMPORAL_NAMESPACE="+stream)
	p := pipeline.New(pipeline.Settings{
		Programs: e.programs, Servers: servers, Resources: resources, Shards: e.options.Shards, Dir: dir,
		Form: container.Single.String(), // as the function that it is compared with reads records
	})
	if err := p.Setup(ctx); err != nil {
		return one, err
	}
	defer func() { // the emulator keeps it
		_, deleteErr := e.streams.DeleteStream(context.WithoutCancel(ctx), &kinesis.DeleteStreamInput{StreamName: &stream})
		err = errors.Join(err, deleteErr)
	}()
	key, err := p.CreateKey(ctx, e.name)
	if err != nil {
		return one, err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	collector, err := p.StartCollector(ctx)
	if err != nil {
		return one, err
	}
	consumer, err := e.start(ctx, contender, dir, p, stream)
	if err != nil {
		return one, err
	}
	defer func() { err = errors.Join(err, consumer.stop(context.WithoutCancel(ctx))) }()

	warm := e.options
	warm.For, warm.Poison, warm.Drain = e.options.WarmUp, 0, patience
	warmed, err := e.observe(ctx, about, newTraffic(warm, "warm", round, collector.URL, key))
	if err == nil && warmed.unfinished > 0 {
		err = fmt.Errorf("%d of its records are not saved", warmed.unfinished)
	}
	if err != nil {
		return one, fmt.Errorf("warm up: %w", err)
	}
	e.say(about, "load of %v begins", e.options.For)
	if one, err = e.observe(ctx, about, newTraffic(e.options, "round", round, collector.URL, key)); err != nil {
		return one, err
	}
	if one.stats, err = consumer.stats(ctx); err != nil {
		return one, err
	}
	e.say(about, "%v on average, %v p99, %d saved, %d unfinished", one.delays().average(), one.delays().quantile(0.99), one.saved, one.unfinished)
	if contender == millrace {
		one.audited, err = e.audit(ctx, warmed, one)
	}
	return one, err
}

// observe puts a load on and waits until all of it is saved, or time is up.
func (e *experiment) observe(ctx context.Context, about string, t *traffic) (one outcome, err error) {
	one.traffic, one.begin = t, time.Now()
	var mu sync.Mutex
	at := map[uint64]bool{}
	e.tap.Watch(e.name, func(s tap.Saved) {
		n, ours := t.Source.Number(s.ID)
		mu.Lock()
		defer mu.Unlock()
		if !ours || s.Before || at[n] {
			return
		}
		at[n] = true
		one.points = append(one.points, point{s.Received.Sub(one.begin), s.At.Sub(s.Received)})
		one.last = s.At
	})
	defer e.tap.Watch("", nil)
	savedNow := func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return uint64(len(at))
	}
	stop := e.progress(ctx, about, savedNow)
	err = t.run(ctx)
	stop()
	if err != nil {
		return one, err
	}
	if counts := t.Counts(); counts.Refused+counts.GivenUp > 0 {
		return one, fmt.Errorf("post telemetry: the collector refused %d records and never answered for %d", counts.Refused, counts.GivenUp)
	}
	for n := range t.Accepted.All() {
		if one.accepted++; t.Source.Bad(n) {
			one.bad++
		}
	}
	end := time.Now().Add(t.options.Drain)
	for savedNow() < one.accepted-one.bad && time.Now().Before(end) {
		if err := poll.For(ctx, pollInterval); err != nil {
			return one, err
		}
	}
	if err := e.tap.Settle(); err != nil {
		return one, err
	}
	e.tap.Watch("", nil)
	now := time.Now()
	mu.Lock()
	defer mu.Unlock()
	for n := range t.Accepted.All() {
		if !t.Source.Bad(n) && !at[n] {
			posted := t.postedAt(n)
			one.points = append(one.points, point{posted.Sub(one.begin), now.Sub(posted)})
			one.unfinished++
		}
	}
	one.saved = uint64(len(at))
	return one, nil
}

// progress says now and then how far a run is, until it is stopped, which
// waits: no other goroutine may write meanwhile.
func (e *experiment) progress(ctx context.Context, about string, saved func() uint64) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var saying sync.WaitGroup
	saying.Go(func() {
		for begin := time.Now(); poll.For(ctx, sayEvery) == nil; {
			e.say(about, "%3.0f s: %6d saved", time.Since(begin).Seconds(), saved())
		}
	})
	return func() {
		cancel()
		saying.Wait()
	}
}

// audit looks for every record that Millrace was sent.
func (e *experiment) audit(ctx context.Context, runs ...outcome) (report audit.Report, err error) {
	stores := audit.Stores{
		Elasticsearch: e.elasticsearch, Index: pattern, Tenant: e.name, Bucket: e.name,
		S3: s3.NewFromConfig(e.aws, func(o *s3.Options) { o.UsePathStyle = true }),
	}
	var sent []audit.Sent
	for _, one := range runs {
		sent = append(sent, audit.Sent{Source: one.traffic.Source, Accepted: &one.traffic.Accepted})
	}
	for deadline := time.Now().Add(patience); ; {
		if report, err = audit.Run(ctx, stores, sent...); err != nil || report.Lost == 0 || time.Now().After(deadline) {
			return report, err
		}
		if err := poll.For(ctx, pollInterval); err != nil {
			return report, err
		}
	}
}
