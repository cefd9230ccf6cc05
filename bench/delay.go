package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/config"
	"millrace/internal/load"
	"millrace/test/kit/audit"
)

const (
	// delayRate is a load that leaves the machine some rest, in records a second.
	delayRate = 500
	// delayRounds is how often each line gets its share of the load, by turns.
	delayRounds = 4

	arriveWithin = 2 * time.Minute
)

// line is a way from an agent to Elasticsearch.
type line struct {
	name  string
	post  func(ctx context.Context, tenant string, d time.Duration) (audit.Sent, error)
	sent  []audit.Sent
	acked *load.Histogram // of the last round, until 202
	delay *load.Histogram
}

// tenant of the measured records; those of the warm-up have another.
func (l *line) tenant() string { return "delay-" + l.name }

// delay measures the time from received by the collector to indexed, at a
// steady load through the whole pipeline, beside a bare one.
func (b *bench) delay(ctx context.Context) (err error) {
	// The emulator keeps all that it was given, and becomes slow by that: of 600
	// MiB records waited for it ten times longer than of 100.
	emulator := b.stack.Service(local.AWS)
	if err := errors.Join(emulator.Kill(), emulator.Restart(ctx)); err != nil {
		return fmt.Errorf("start the emulator anew: %w", err)
	}
	resources := config.Resources{Stream: "bench-delay", Bucket: "millrace-telemetry"}
	p := pipeline.New(pipeline.Settings{Programs: b.programs, Servers: b.stack.Env(), Dir: b.stack.LogDir(), Resources: resources, Shards: streamShards})
	defer func() { err = errors.Join(err, p.Stop()) }()
	if err := p.Setup(ctx); err != nil {
		return err
	}
	if _, err := p.StartWorker(ctx); err != nil {
		return err
	}
	if err := p.StartWorkflows(ctx); err != nil {
		return err
	}
	bare, loop, err := b.startBareLine(ctx)
	if err != nil {
		return err
	}
	defer loop.Kill()
	lines := []*line{bare}
	for _, mode := range []string{"direct", "temporal"} {
		l, err := startLine(ctx, p, mode)
		if err != nil {
			return err
		}
		lines = append(lines, l)
	}
	stores := audit.Stores{Elasticsearch: b.stack.Service(local.Elasticsearch).URL(), S3: pipeline.S3(b.stack), Bucket: resources.Bucket}
	if err := b.takeTurns(ctx, stores, lines); err != nil {
		return err
	}
	b.compareDelay(lines[0], lines[1], lines[2])
	return nil
}

// startLine starts a collector of a mode.
func startLine(ctx context.Context, p *pipeline.Pipeline, mode string) (*line, error) {
	l := &line{name: mode}
	keys := map[string]string{}
	for _, tenant := range []string{warmUpTenant, l.tenant()} {
		var err error
		if keys[tenant], err = p.CreateKey(ctx, tenant); err != nil {
			return nil, err
		}
	}
	collector, err := p.StartCollector(ctx, "INGEST="+mode)
	if err != nil {
		return nil, err
	}
	l.post = func(ctx context.Context, tenant string, d time.Duration) (audit.Sent, error) {
		sender, err := post(ctx, load.Settings{URL: collector.URL, Key: keys[tenant], Connections: connections, PerPost: perPost, Rate: delayRate}, d)
		if err != nil {
			return audit.Sent{}, err
		}
		l.acked = &sender.Latency
		return audit.Sent{Source: sender.Source, Accepted: &sender.Accepted}, nil
	}
	return l, nil
}

// warmUpTenant has what comes before all is warm, which counts in no delay.
const warmUpTenant = "warm-up"

// takeTurns puts the load on each line by turns, and audits what came of it.
func (b *bench) takeTurns(ctx context.Context, stores audit.Stores, lines []*line) error {
	var warm []audit.Sent
	stores.Tenant = warmUpTenant
	for _, l := range lines {
		sent, err := l.post(ctx, warmUpTenant, b.For/delayRounds)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		warm = append(warm, sent)
	}
	if err := arrive(ctx, stores, warm); err != nil {
		return err
	}
	before, err := b.lookAtShards(ctx)
	if err != nil {
		return err
	}
	begin := time.Now()
	for round := range delayRounds {
		for i := range lines {
			l := lines[(i+round)%len(lines)] // the order rotates
			sent, err := l.post(ctx, l.tenant(), b.For/delayRounds)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			l.sent = append(l.sent, sent)
			stores.Tenant = l.tenant()
			if err := arrive(ctx, stores, l.sent); err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
		}
	}
	after, err := b.lookAtShards(ctx)
	if err != nil {
		return err
	}
	writes := float64(after.transitions-before.transitions) / time.Since(begin).Seconds() / streamShards
	b.figures.add("temporal_writes_per_shard_s", writes, "state transitions of a ProcessShard, which are writes of Temporal's store; at most 0.3")
	b.figures.add("false_takeovers", float64(after.retries), "calls of a shard that were begun anew though their worker was there; at most 0")
	for _, l := range lines {
		stores.Tenant = l.tenant()
		report, err := audit.Run(ctx, stores, l.sent...)
		if err := errors.Join(err, report.Clean()); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		l.delay = report.Delay
	}
	return nil
}

// compareDelay enters the delays of the lines.
func (b *bench) compareDelay(bare, direct, temporal *line) {
	avg := func(l *line) float64 { return milliseconds(l.delay.Average()) }
	p99 := func(l *line) float64 { return milliseconds(l.delay.Quantile(0.99)) }
	for _, l := range []*line{bare, direct, temporal} {
		say("delay", "%-10s %6.0f ms on average, %6.0f ms p99, of %d records", l.name, avg(l), p99(l), l.delay.Count())
	}
	b.figures.add("delay_avg_ms", avg(temporal), "received_at to indexed_at, through Temporal, of %d documents at %d records/s; at most 250", temporal.delay.Count(), delayRate)
	b.figures.add("delay_p50_ms", milliseconds(temporal.delay.Quantile(0.5)), "Kinesis allows 5 reads a second and shard: 100 ms on average are waiting for the next one")
	b.figures.add("delay_p99_ms", p99(temporal), "at most 1000")
	b.figures.add("delay_direct_avg_ms", avg(direct), "the collector puts into the stream itself")
	b.figures.add("delay_direct_p99_ms", p99(direct), "likewise")
	b.figures.add("delay_bare_avg_ms", avg(bare), "PutRecords, a bare loop that reads as often, _bulk")
	b.figures.add("delay_bare_p99_ms", p99(bare), "likewise")
	b.figures.add("delay_avg_ratio", avg(direct)/avg(bare), "delay_direct_avg_ms / delay_bare_avg_ms; at most 1.3")
	b.figures.add("delay_p99_ratio", p99(direct)/p99(bare), "delay_direct_p99_ms / delay_bare_p99_ms; at most 1.5")
	b.figures.add("delay_ack_p99_ms", milliseconds(temporal.acked.Quantile(0.99)), "until 202, through Temporal, at that load; p50 %s", short(milliseconds(temporal.acked.Quantile(0.5))))
}

// shards is what Temporal knows of those that are open.
type shards struct {
	transitions int64 // of their workflows
	retries     int32 // of their calls
}

func (b *bench) lookAtShards(ctx context.Context) (all shards, err error) {
	temporal, err := b.dialTemporal()
	if err != nil {
		return all, err
	}
	defer temporal.Close()
	open, err := temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Query: "WorkflowType = 'ProcessShard' AND ExecutionStatus = 'Running'"})
	if err != nil {
		return all, fmt.Errorf("list shards: %w", err)
	}
	for _, w := range open.GetExecutions() {
		id := w.GetExecution().GetWorkflowId()
		described, err := temporal.DescribeWorkflowExecution(ctx, id, "")
		if err != nil {
			return all, fmt.Errorf("describe %s: %w", id, err)
		}
		all.transitions += described.GetWorkflowExecutionInfo().GetStateTransitionCount()
		for _, a := range described.GetPendingActivities() {
			all.retries += a.GetAttempt() - 1
		}
	}
	if len(open.GetExecutions()) != streamShards {
		return all, fmt.Errorf("%d shards are open, want %d", len(open.GetExecutions()), streamShards)
	}
	return all, nil
}

// arrive waits until the documents of a tenant are there.
func arrive(ctx context.Context, stores audit.Stores, sent []audit.Sent) error {
	want := uint64(0)
	for _, s := range sent {
		want += s.Accepted.Len()
	}
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
