package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/config"
	"millrace/internal/load"
	"millrace/test/kit/audit"
)

const (
	// loadShare of the measured maximum is a steady load.
	loadShare = 1.0 / 3
	// usualMaximum stands in when no maximum was measured, records a second.
	usualMaximum = 6000

	arriveWithin = 2 * time.Minute
)

// delay measures the time from received by the collector to indexed, at a
// steady load through the whole pipeline.
func (b *bench) delay(ctx context.Context) (err error) {
	rate, of := b.steadyRate()
	// The emulator keeps all that it was given, and becomes slow by that: of 600
	// MiB records waited for it ten times longer than of 100.
	emulator := b.stack.Service(local.AWS)
	if err := errors.Join(emulator.Kill(), emulator.Restart(ctx)); err != nil {
		return fmt.Errorf("start the emulator anew: %w", err)
	}
	resources := config.Resources{Stream: "bench-delay", Bucket: "millrace-telemetry"}
	p := pipeline.New(pipeline.Settings{Programs: b.programs, Servers: b.stack.Env(), Dir: b.stack.LogDir(), Resources: resources})
	defer func() { err = errors.Join(err, p.Stop()) }()
	if err := p.Setup(ctx); err != nil {
		return err
	}
	keys := map[string]string{}
	for _, tenant := range []string{"warm-up", "delay"} {
		if keys[tenant], err = p.CreateKey(ctx, tenant); err != nil {
			return err
		}
	}
	collector, err := p.StartCollector(ctx)
	if err != nil {
		return err
	}
	worker, err := p.StartWorker(ctx)
	if err != nil {
		return err
	}
	if err := p.StartWorkflows(ctx); err != nil {
		return err
	}
	stores := audit.Stores{Elasticsearch: b.stack.Service(local.Elasticsearch).URL(), S3: pipeline.S3(b.stack), Bucket: resources.Bucket}
	settings := load.Settings{URL: collector.URL, Connections: connections, PerPost: perPost, Rate: rate}
	steady := func(tenant string, d time.Duration) (*load.Sender, error) {
		settings.Key, stores.Tenant = keys[tenant], tenant
		sender, err := post(ctx, settings, d)
		if err != nil {
			return nil, err
		}
		return sender, arrive(ctx, stores, sender.Counts().Accepted)
	}
	if _, err := steady("warm-up", 2*warmUp); err != nil {
		return err
	}
	answered, err := b.answered(ctx, worker)
	if err != nil {
		return err
	}
	before, err := b.times(collector.Process, worker.Process)
	if err != nil {
		return err
	}
	begin := time.Now()
	sender, err := steady("delay", b.For)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	after, err := b.times(collector.Process, worker.Process)
	if err != nil {
		return err
	}
	since, err := b.answered(ctx, worker)
	if err != nil {
		return err
	}
	report, err := audit.Run(ctx, stores, audit.Sent{Source: sender.Source, Accepted: &sender.Accepted})
	if err := errors.Join(err, report.Clean()); err != nil {
		return err
	}
	used := after.since(before)
	share := func(name string) float64 { return 100 * used[name].Seconds() / took.Seconds() }
	say("delay", "%v on average, %v p99, of %d records", report.Delay.Average(), report.Delay.Quantile(0.99), report.Delay.Count())
	b.figures.add("delay_avg_ms", milliseconds(report.Delay.Average()), "received_at to indexed_at, of %d documents at %.0f records/s, a third of %s", report.Delay.Count(), rate, of)
	b.figures.add("delay_p50_ms", milliseconds(report.Delay.Quantile(0.5)), "Kinesis allows 5 reads a second and shard: 100 ms on average are waiting for the next one")
	b.figures.add("delay_p99_ms", milliseconds(report.Delay.Quantile(0.99)), "of one processor: collector %.0f %%, worker %.0f %%, Temporal %.0f %%, Elasticsearch %.0f %%, emulator %.0f %%",
		share(collector.Name), share(worker.Name), share(local.Temporal), share(local.Elasticsearch), share(local.AWS))
	b.figures.add("delay_answered_avg_ms", 1000*(since.sum-answered.sum)/(since.count-answered.count), "until Elasticsearch has answered, as the worker measures it")
	b.figures.add("delay_ack_p99_ms", milliseconds(sender.Latency.Quantile(0.99)), "until 202, at that load; p50 %s", short(milliseconds(sender.Latency.Quantile(0.5))))
	return nil
}

// steadyRate returns the load, and what it is a third of: what is slower, the
// way in or the way out.
func (b *bench) steadyRate() (rate float64, of string) {
	in, measuredIn := b.figures.value("ingest_records_s")
	out, measuredOut := b.figures.value("index_records_s")
	switch {
	case measuredIn && (!measuredOut || in <= out):
		return in * loadShare, "ingest_records_s"
	case measuredOut:
		return out * loadShare, "index_records_s"
	}
	return usualMaximum * loadShare, fmt.Sprintf("%d, as no maximum was measured", usualMaximum)
}

// total is what a worker's histogram of delays adds up to.
type total struct{ sum, count float64 }

func (b *bench) answered(ctx context.Context, worker *pipeline.Program) (t total, err error) {
	if t.sum, err = worker.Metric(ctx, "millrace_delay_seconds_sum"); err != nil {
		return t, err
	}
	t.count, err = worker.Metric(ctx, "millrace_delay_seconds_count")
	return t, err
}

// arrive waits until that many documents are there.
func arrive(ctx context.Context, stores audit.Stores, want uint64) error {
	for deadline := time.Now().Add(arriveWithin); ; {
		indexed, err := stores.Indexed(ctx)
		if err != nil {
			return fmt.Errorf("count documents: %w", err)
		}
		if indexed >= want {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d records are indexed %v after the load has ended", indexed, want, arriveWithin)
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}
