package main

import (
	"context"
	"fmt"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"millrace/bench/data"
	"millrace/deploy/pipeline"
	"millrace/internal/load"
	"millrace/internal/pack"
)

const (
	// ackRate is a load at which nothing queues, in records a second: what an agent waits for is then what a batch takes.
	ackRate = 1000
	// no worker polls it.
	emptyQueue = "bench-unpolled"
)

// answers are the medians, in milliseconds, of how long something took in each run.
type answers struct {
	name    string
	key     string // of its figures
	measure func(context.Context) (*load.Histogram, error)
	p50     spread
}

// acks measures what Temporal adds to the time until an agent has its answer, against the bare start of a workflow with the same
// input.
func (b *bench) acks(ctx context.Context, stream string) error {
	bare := &answers{name: "bare start", key: "bare", measure: b.bareStarts}
	all := []*answers{bare}
	for _, mode := range []string{"direct", "temporal"} {
		p := b.pipeline()
		key, err := p.CreateKey(ctx, "bench")
		if err != nil {
			return err
		}
		collector, err := p.StartCollector(ctx, "INGEST="+mode, "AWS_ENDPOINT_URL_KINESIS="+stream)
		if err != nil {
			return err
		}
		defer collector.Kill()
		all = append(all, &answers{name: mode, key: mode, measure: func(ctx context.Context) (*load.Histogram, error) {
			return b.ackedBy(ctx, collector, key)
		}})
	}
	for run := range b.Runs + 1 {
		for i := range all {
			a := all[(i+run)%len(all)] // the order rotates
			times, err := a.measure(ctx)
			if err != nil {
				return fmt.Errorf("run %d of %s: %w", run, a.name, err)
			}
			p50 := milliseconds(times.Quantile(0.5))
			say("acks", "%-10s %6.1f ms (p50), %6.1f ms (p99)%s", a.name, p50, milliseconds(times.Quantile(0.99)), discarded(run))
			if run > 0 {
				a.p50 = append(a.p50, p50)
			}
		}
	}
	direct, temporal := all[1], all[2]
	added := temporal.p50.median() - direct.p50.median()
	b.figures.add("ack_added_ms", added, "p50 through Temporal, %s, less direct, %s, at %d records/s", short(temporal.p50.median()), short(direct.p50.median()), ackRate)
	b.figures.add("ack_added_ratio", added/bare.p50.median(), "ack_added_ms / the bare start of a workflow, %s; at most 2", short(bare.p50.median()))
	return b.whereStartsGo(ctx, bare, temporal)
}

func (b *bench) ackedBy(ctx context.Context, collector *pipeline.Program, key string) (*load.Histogram, error) {
	sender, err := post(ctx, load.Settings{URL: collector.URL, Key: key, Connections: connections, PerPost: perPost, Rate: ackRate}, b.For/floorShare)
	if err == nil {
		err = b.awaitBatches(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &sender.Latency, nil
}

// bareStarts starts as many workflows as the load has posts, whether or not those before have started, and runs none. They stay
// open for as long as the server lives: one that ended, by a timeout too, would have the server write during a later measurement.
func (b *bench) bareStarts(ctx context.Context) (*load.Histogram, error) {
	temporal, err := b.dialTemporal()
	if err != nil {
		return nil, err
	}
	defer temporal.Close()
	input := pack.Pack(data.Records(perPost, recordsAt))
	options := client.StartWorkflowOptions{TaskQueue: emptyQueue}
	times := new(load.Histogram)
	tick := time.NewTicker(perPost * time.Second / ackRate)
	defer tick.Stop()
	group, starting := errgroup.WithContext(ctx)
	for end := time.Now().Add(b.For / floorShare); time.Now().Before(end) && starting.Err() == nil; <-tick.C {
		group.Go(func() error {
			begun := time.Now()
			if _, err := temporal.ExecuteWorkflow(starting, options, "Nothing", input); err != nil {
				return fmt.Errorf("start a workflow: %w", err)
			}
			times.Add(time.Since(begun))
			return nil
		})
	}
	return times, group.Wait()
}
