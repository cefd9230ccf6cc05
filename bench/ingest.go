package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"golang.org/x/sync/errgroup"

	"millrace/bench/data"
	"millrace/deploy/local"
	"millrace/internal/load"
	"millrace/internal/telemetry"
)

const (
	connections = 64
	perPost     = 10
	warmUp      = 3 * time.Second
)

// ingest measures the collector, on both ways that a batch becomes durable.
// Nobody reads the stream meanwhile.
func (b *bench) ingest(ctx context.Context) error {
	emulator, err := b.putRate(ctx)
	if err != nil {
		return err
	}
	b.figures.add("emulator_put_records_s", emulator, "what the emulator's stream takes by itself, %d PutRecords calls of %d records in flight: a bound of both ways in", putters, putRecords)
	for _, mode := range []struct{ env, prefix string }{{"temporal", ""}, {"direct", "direct_"}} {
		if err := b.ingestBy(ctx, mode.env, mode.prefix); err != nil {
			return fmt.Errorf("%s: %w", mode.env, err)
		}
	}
	return nil
}

func (b *bench) ingestBy(ctx context.Context, mode, prefix string) error {
	p := b.pipeline()
	key, err := p.CreateKey(ctx, "bench")
	if err != nil {
		return err
	}
	collector, err := p.StartCollector(ctx, "INGEST="+mode)
	if err != nil {
		return err
	}
	defer collector.Kill()
	settings := load.Settings{URL: collector.URL, Key: key, Connections: connections, PerPost: perPost}
	if _, err := post(ctx, settings, warmUp); err != nil {
		return err
	}
	before, err := b.times(collector.Process)
	if err != nil {
		return err
	}
	machineBefore, err := readMachine()
	if err != nil {
		return err
	}
	begin := time.Now()
	sender, err := post(ctx, settings, b.For)
	if err != nil {
		return err
	}
	took := time.Since(begin)
	machineAfter, err := readMachine()
	if err != nil {
		return err
	}
	after, err := b.times(collector.Process)
	if err != nil {
		return err
	}
	counts := sender.Counts()
	rate := float64(counts.Accepted) / took.Seconds()
	say("ingest", "%-10s %7.0f records/s, acknowledged in %v (p50), %v (p99)", mode, rate,
		sender.Latency.Quantile(0.5).Round(time.Millisecond), sender.Latency.Quantile(0.99).Round(time.Millisecond))
	used := after.since(before)
	share := func(name string) float64 { return 100 * used[name].Seconds() / took.Seconds() }
	b.figures.add(prefix+"ingest_records_s", rate, "%s; %d connections, posts of %d records; %s; collector %.0f %% of one, Temporal %.0f %%",
		mode, connections, perPost, limit(used, took, machineAfter.busySince(machineBefore)), share(collector.Name), share(local.Temporal))
	b.figures.add(prefix+"ack_p50_ms", milliseconds(sender.Latency.Quantile(0.5)), "%s; until 202, at that load; %d attempts were made again", mode, counts.Retries)
	b.figures.add(prefix+"ack_p99_ms", milliseconds(sender.Latency.Quantile(0.99)), "%s", mode)
	b.figures.add(prefix+"ingest_cpu_s", perMillion(used[collector.Name], int(counts.Accepted)), "%s; of the collector, CPU seconds per million records", mode)
	if err := p.Stop(); err != nil {
		return err
	}
	_, peak := collector.Usage()
	b.figures.add(prefix+"collector_peak_mib", mebibytes(peak), "%s", mode)
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

// What putRate does, at the most that PutRecords takes.
const (
	putters    = 4
	putRecords = 500
	putFor     = 5 * time.Second
)

// putRate returns how many records a second the emulator's stream takes when
// nothing but a client of it runs: what comes through the collector cannot be
// more.
func (b *bench) putRate(ctx context.Context) (float64, error) {
	client := kinesis.NewFromConfig(local.AWSConfig(b.stack.Service(local.AWS).URL()))
	stream := "bench-put"
	_, err := client.CreateStream(ctx, &kinesis.CreateStreamInput{StreamName: &stream, ShardCount: aws.Int32(streamShards)})
	if err != nil {
		return 0, fmt.Errorf("create a stream: %w", err)
	}
	if err := kinesis.NewStreamExistsWaiter(client).Wait(ctx, &kinesis.DescribeStreamInput{StreamName: &stream}, time.Minute); err != nil {
		return 0, fmt.Errorf("wait for the stream: %w", err)
	}
	var entries []types.PutRecordsRequestEntry
	for _, record := range data.Records(putRecords, recordsAt) {
		key, err := telemetry.PartitionKey(record)
		if err != nil {
			return 0, fmt.Errorf("make records: %w", err)
		}
		entries = append(entries, types.PutRecordsRequestEntry{Data: record, PartitionKey: &key})
	}
	begin := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	puts := make([]int, putters)
	for i := range putters {
		group.Go(func() error {
			for time.Since(begin) < putFor {
				if _, err := client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &stream, Records: entries}); err != nil {
					return fmt.Errorf("put records: %w", err)
				}
				puts[i] += putRecords
			}
			return nil
		})
	}
	err = group.Wait()
	took := time.Since(begin)
	_, deleting := client.DeleteStream(context.WithoutCancel(ctx), &kinesis.DeleteStreamInput{StreamName: &stream})
	total := 0
	for _, n := range puts {
		total += n
	}
	return float64(total) / took.Seconds(), errors.Join(err, deleting)
}
