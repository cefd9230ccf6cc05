package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/container"
	"millrace/internal/load"
	"millrace/internal/stream"
)

const (
	connections = 64
	perPost     = 10
	warmUp      = 3 * time.Second
)

// ingest measures the collector, on both ways that a batch becomes durable.
// Nothing reads the stream meanwhile.
func (b *bench) ingest(ctx context.Context) error {
	sink, url, err := b.startReplay(ctx, replayName, 0, "--documents", strconv.Itoa(packed))
	if err != nil {
		return err
	}
	defer sink.Kill()
	// First: what Temporal still does for a load that was answered would delay these starts.
	if err := b.acks(ctx, url); err != nil {
		return err
	}
	for _, mode := range []struct{ env, prefix string }{{"temporal", ""}, {"direct", "direct_"}} {
		// A stream of its own: the emulator's calls take the longer, the more
		// records a stream has.
		stream := "bench-" + mode.env
		if err := b.createStream(ctx, stream); err != nil {
			return err
		}
		through, err := b.ingestBy(ctx, mode.env, mode.prefix, "MILLRACE_STREAM="+stream)
		if err != nil {
			return fmt.Errorf("%s: %w", mode.env, err)
		}
		without, err := b.ingestBy(ctx, mode.env, mode.prefix, "AWS_ENDPOINT_URL_KINESIS="+url)
		if err != nil {
			return fmt.Errorf("%s, without the emulator: %w", mode.env, err)
		}
		b.figures = append(b.figures, through...)
		if mode.env == "temporal" {
			if err := b.countTransitions(ctx); err != nil {
				return err
			}
		}
		rate, _ := without.value(mode.prefix + "ingest_records_s")
		b.figures.add(mode.prefix+"ingest_sink_records_s", rate, "%s; with a stream that takes all and keeps nothing in the emulator's place", mode.env)
	}
	return b.compareIngest(ctx, url)
}

// ingestBy measures one way, with a setting that says which stream is at its end.
func (b *bench) ingestBy(ctx context.Context, mode, prefix, stream string) (f figures, err error) {
	p := b.pipeline()
	key, err := p.CreateKey(ctx, "bench")
	if err != nil {
		return nil, err
	}
	collector, err := p.StartCollector(ctx, "INGEST="+mode, stream)
	if err != nil {
		return nil, err
	}
	defer collector.Kill()
	settings := load.Settings{URL: collector.URL, Key: key, Connections: connections, PerPost: perPost}
	if _, err := post(ctx, settings, warmUp); err != nil {
		return nil, err
	}
	before, err := b.times(collector.Process)
	if err != nil {
		return nil, err
	}
	machineBefore, err := readMachine()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	sender, err := post(ctx, settings, b.For)
	if err != nil {
		return nil, err
	}
	accepting := time.Since(begin)
	if err := b.awaitBatches(ctx); err != nil {
		return nil, err
	}
	took := time.Since(begin)
	machineAfter, err := readMachine()
	if err != nil {
		return nil, err
	}
	after, err := b.times(collector.Process)
	if err != nil {
		return nil, err
	}
	counts := sender.Counts()
	rate := float64(counts.Accepted) / took.Seconds()
	say("ingest", "%-10s %7.0f records/s, acknowledged in %v (p50), %v (p99)", mode, rate,
		sender.Latency.Quantile(0.5).Round(time.Millisecond), sender.Latency.Quantile(0.99).Round(time.Millisecond))
	used := after.since(before)
	share := func(name string) float64 { return 100 * used[name].Seconds() / took.Seconds() }
	f.add(prefix+"ingest_records_s", rate, "%s; until all are in the stream, %.1f s after the last was accepted; %d connections, posts of %d records; %s; collector %.0f %% of one, Temporal %.0f %%",
		mode, (took - accepting).Seconds(), connections, perPost, limit(used, took, machineAfter.busySince(machineBefore)), share(collector.Name), share(local.Temporal))
	f.add(prefix+"ack_p50_ms", milliseconds(sender.Latency.Quantile(0.5)), "%s; until 202, at that load; %d attempts were made again", mode, counts.Retries)
	f.add(prefix+"ack_p99_ms", milliseconds(sender.Latency.Quantile(0.99)), "%s", mode)
	f.add(prefix+"ingest_cpu_s", perMillion(used[collector.Name], int(counts.Accepted)), "%s; of the collector, CPU seconds per million records", mode)
	peak, err := pipeline.PeakMemory(collector.Pid())
	if err := errors.Join(err, p.Stop()); err != nil {
		return nil, err
	}
	f.add(prefix+"collector_peak_mib", mebibytes(peak), "%s", mode)
	return f, nil
}

// awaitBatches waits until no IngestBatch is open: what Temporal took and the
// stream has not yet is no throughput.
func (b *bench) awaitBatches(ctx context.Context) error {
	temporal, err := b.dialTemporal()
	if err != nil {
		return err
	}
	defer temporal.Close()
	for deadline := time.Now().Add(arriveWithin); time.Now().Before(deadline); {
		open, err := temporal.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
			Query: "WorkflowType = 'IngestBatch' AND ExecutionStatus = 'Running'",
		})
		if err != nil {
			return fmt.Errorf("count open batches: %w", err)
		}
		if open.GetCount() == 0 {
			return nil
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("batches are open %v after the load has ended", arriveWithin)
}

func (b *bench) dialTemporal() (client.Client, error) {
	return pipeline.DialQuietly(b.stack.Service(local.Temporal).Address(), client.DefaultNamespace)
}

// countTransitions enters how many transitions of its state, which are writes of Temporal's store, a batch takes.
func (b *bench) countTransitions(ctx context.Context) error {
	temporal, err := b.dialTemporal()
	if err != nil {
		return err
	}
	defer temporal.Close()
	closed, err := temporal.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: 100, Query: "WorkflowType = 'IngestBatch' AND ExecutionStatus = 'Completed'",
	})
	if err != nil {
		return fmt.Errorf("list batches: %w", err)
	}
	if len(closed.GetExecutions()) == 0 {
		return errors.New("no batch has been completed")
	}
	transitions := spread{}
	for _, w := range closed.GetExecutions() {
		transitions = append(transitions, float64(w.GetStateTransitionCount()))
	}
	b.figures.add("transitions_per_batch", transitions.median(), "state transitions of an IngestBatch; %s", transitions)
	return nil
}

// post posts for a while and returns what it knows. That nothing was accepted
// is an error.
func post(ctx context.Context, settings load.Settings, d time.Duration) (*load.Sender, error) {
	settings.For = d
	source := &load.Source{Run: "bench-" + strings.ToLower(rand.Text()[:8]), Start: time.Now(), Interval: time.Microsecond}
	sender := load.NewSender(source, settings)
	if err := sender.Run(ctx); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if counts := sender.Counts(); counts.Accepted == 0 || counts.Refused > 0 {
		return nil, fmt.Errorf("the collector accepted %d records and refused %d", counts.Accepted, counts.Refused)
	}
	return sender, nil
}

// createStream makes a stream as starter setup does.
func (b *bench) createStream(ctx context.Context, name string) error {
	client := kinesis.NewFromConfig(local.AWSConfig(b.stack.Service(local.AWS).URL()))
	if _, err := stream.Create(ctx, client, name, streamShards, stream.ShortestRetention); err != nil {
		return err
	}
	opened, err := stream.Open(ctx, client, name, stream.Settings{})
	if err != nil {
		return err
	}
	_, err = opened.SetForm(ctx, container.Pack)
	return err
}
