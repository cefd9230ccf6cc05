package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"millrace/bench/data"
	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/load"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
	"millrace/test/kit/audit"
)

// bareStream is read by the bare loop alone.
const bareStream = "bench-bare"

// startBareLine starts what the delay is measured against: records are put one call a post, and a bare loop reads and
// indexes them.
func (b *bench) startBareLine(ctx context.Context) (*line, *pipeline.Process, error) {
	client := kinesis.NewFromConfig(local.AWSConfig(b.stack.Service(local.AWS).URL()))
	if _, err := stream.Create(ctx, client, bareStream, streamShards, stream.ShortestRetention); err != nil {
		return nil, nil, err
	}
	loop, err := b.startLoop("-kinesis", b.stack.Service(local.AWS).URL(), "-stream", bareStream,
		"-elasticsearch", b.stack.Service(local.Elasticsearch).URL(), "-poll", stream.DefaultIdleWait.String())
	if err != nil {
		return nil, nil, err
	}
	post := func(ctx context.Context, tenant string, d time.Duration) (audit.Sent, error) {
		return putSteadily(ctx, client, tenant, d)
	}
	return &line{name: "bare", post: post}, loop, nil
}

// putSteadily puts the records of a load, as a collector does, for a while.
func putSteadily(ctx context.Context, client *kinesis.Client, tenant string, d time.Duration) (audit.Sent, error) {
	source := &load.Source{Run: "bare-" + strings.ToLower(rand.Text()[:8]), Start: time.Now(), Interval: time.Microsecond}
	sent := audit.Sent{Source: source, Accepted: new(load.Set)}
	tick := time.NewTicker(perPost * time.Second / delayRate)
	defer tick.Stop()
	name := bareStream
	for n, end := uint64(0), time.Now().Add(d); time.Now().Before(end); n += perPost {
		var entries []types.PutRecordsRequestEntry
		for i := range uint64(perPost) {
			record := record(source, n+i, tenant)
			key, err := telemetry.PartitionKey(record)
			if err != nil {
				return sent, fmt.Errorf("make a record: %w", err)
			}
			entries = append(entries, types.PutRecordsRequestEntry{Data: record, PartitionKey: &key})
		}
		if _, err := client.PutRecords(ctx, &kinesis.PutRecordsInput{StreamName: &name, Records: entries}); err != nil {
			return sent, fmt.Errorf("put records: %w", err)
		}
		for i := range uint64(perPost) {
			sent.Accepted.Add(n + i)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return sent, context.Cause(ctx)
		}
	}
	return sent, nil
}

// record makes that of a number, which is received now.
func record(source *load.Source, n uint64, tenant string) []byte {
	kind, at := source.Type(n), source.Timestamp(n)
	body := append(source.AppendBody([]byte{'{'}, n), '}')
	return telemetry.AppendRecord(nil, telemetry.Head{
		Index: telemetry.IndexName(kind, at), ReceivedAt: time.Now().UTC(), Tenant: tenant, Region: data.Region, ID: source.ID(n), Type: kind, Timestamp: at,
	}, body)
}
