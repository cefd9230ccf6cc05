package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"millrace/activities/backups"
	"millrace/bench/data"
	"millrace/deploy/local"
	"millrace/internal/archive"
	"millrace/internal/backup"
	"millrace/workers"
)

// filled is the bucket with the backup of the records.
const filled = "bench-backup"

// fillBackup writes a backup of the records, with objects as large as by
// default.
func fillBackup(ctx context.Context, address string, records int) error {
	client := s3.NewFromConfig(local.AWSConfig(address), func(o *s3.Options) { o.UsePathStyle = true })
	bucket := archive.Open(client, filled).Under(backup.Prefix)
	var chains [streamShards]*backup.Chain
	for n := range chains {
		shard := backup.Shard{Stream: "bench", Created: recordsAt, ID: fmt.Sprintf("shardId-%012d", n)}
		chains[n] = backup.Open(bucket, shard, "")
	}
	flush := func(chain *backup.Chain) error {
		_, err := chain.Flush(ctx)
		return err
	}
	for n, record := range data.Records(records, recordsAt) {
		chain := chains[n%streamShards]
		if chain.Held().Bytes+int64(len(record)) > backups.DefaultBackupBytes {
			if err := flush(chain); err != nil {
				return err
			}
		}
		if err := chain.Add(backup.Record{Sequence: fmt.Sprintf("%056d", n+1), Arrived: recordsAt, Data: record}); err != nil {
			return err
		}
	}
	for _, chain := range chains {
		if err := flush(chain); err != nil {
			return err
		}
	}
	return nil
}

// startBackfill returns how to start a worker that indexes what is in the
// backup, by a replay of the hour that it is of. It is given a rate that it
// cannot reach, as where no other client needs Elasticsearch.
func (b *bench) startBackfill(address string) starter {
	return func(ctx context.Context, _ string) (drainer, error) {
		p := b.pipeline()
		worker, err := p.StartWorker(ctx, "AWS_ENDPOINT_URL_S3="+address, "MILLRACE_BUCKET="+filled)
		if err != nil {
			return drainer{}, err
		}
		idle, start, err := whenReady(worker)
		begin := time.Now()
		if err == nil {
			_, err = p.Starter(ctx, "replay", "--from", recordsAt.Format(time.RFC3339), "--to", recordsAt.Add(time.Hour).Format(time.RFC3339),
				"--rate", "1000000000", "--no-follow")
		}
		if err != nil {
			worker.Kill()
			return drainer{}, err
		}
		return drainer{worker.Process, worker, firstObject(address, begin), func(context.Context) error { return p.Stop() }, idle, start}, nil
	}
}

// firstObject returns when an object of the backup was read first.
func firstObject(address string, behind time.Time) func(context.Context) (time.Time, error) {
	return func(ctx context.Context) (time.Time, error) {
		calls, err := callsOf(ctx, address, filled)
		if err != nil {
			return behind, err
		}
		for _, call := range calls {
			if call.Read && call.At.After(behind) {
				return call.At, nil
			}
		}
		return behind, fmt.Errorf("no object was read after %v", behind)
	}
}

// startBareBackfill returns how to start a bare loop that does the same.
func (b *bench) startBareBackfill(address, elasticsearch string, inFlight int) starter {
	return func(context.Context, string) (drainer, error) {
		begin := time.Now()
		process, err := b.startLoop("-backfill", "-s3", address, "-bucket", filled, "-elasticsearch", elasticsearch, "-in-flight", strconv.Itoa(inFlight))
		if err != nil {
			return drainer{}, err
		}
		return drainer{process, nil, firstObject(address, begin), process.Wait, 0, 0}, nil
	}
}

// recover measures a backfill out of the backup against a bare loop that decompresses its objects and sends them.
func (b *bench) recover(ctx context.Context) error {
	e := b.elastic()
	objects, address, err := b.startStore(ctx)
	if err != nil {
		return err
	}
	defer objects.Kill()
	if err := fillBackup(ctx, address, b.Records); err != nil {
		return err
	}
	once := b.into(e, objects)
	loop, err := b.bestLoop(ctx, "backup", once, func(inFlight int) starter { return b.startBareBackfill(address, e.url, inFlight) })
	if err != nil {
		return err
	}
	backfill := &contender{name: "backfill", start: b.startBackfill(address)}
	if err := b.alternate(ctx, "recover", b.Pairs, []*contender{backfill, loop}, once); err != nil {
		return err
	}
	b.compareRecover(backfill, loop)
	return e.call(ctx, http.MethodDelete, "/"+e.index, "", nil)
}

// sweepMost is what a page of a recovery may hold: see workers.DefaultRecoverSlots.
const sweepMost = 30 << 20

// compareRecover enters the figures of a backfill beside the bare loop.
func (b *bench) compareRecover(backfill, loop *contender) {
	ours, theirs := collect(backfill.runs, rateOf), collect(loop.runs, rateOf)
	ourCPU, theirCPU := collect(backfill.runs, cpuOf), collect(loop.runs, cpuOf)
	b.figures.add("recover_ratio", ours.median()/theirs.median(), "recover_records_s / recover_bare_records_s; at least 0.9")
	b.figures.add("recover_cpu_ratio", ourCPU.median()/theirCPU.median(), "recover_cpu_s / recover_bare_cpu_s; at most 1.3")
	b.figures.add("recover_bare_records_s", theirs.median(), "%s; of the %s", theirs, loop.name)
	b.figures.add("recover_bare_cpu_s", theirCPU.median(), "%s", theirCPU)
	b.figures.add("recover_records_s", ours.median(), "%s; median and range of %d runs with %d records, read from a server that has the objects in memory; processors %.0f %% busy",
		ours, len(ours), b.Records, 100*collect(backfill.runs, busyOf).median())
	b.figures.add("recover_cpu_s", ourCPU.median(), "%s; CPU seconds per million records, from when the worker is ready until it has ended", ourCPU)
	for _, other := range []string{local.Elasticsearch, local.Temporal, storeName} {
		with, without := collect(backfill.runs, otherOf(other)), collect(loop.runs, otherOf(other))
		b.figures.add("recover_"+other+"_cpu_s", with.median(), "%s; beside the bare loop %s", with, short(without.median()))
	}
	peak, idle := collect(backfill.runs, peakOf), collect(backfill.runs, idleOf).median()
	b.figures.add("recover_peak_mib", peak.median(), "%s; of the worker, which has one page at work", peak)
	b.figures.add("recover_bound_mib", idle+collected*mebibytes(sweepMost),
		"%s of a worker that is idle, and %d times %.0f MiB, for one page at work; with all %d of --recover-slots, %d times %.0f MiB",
		short(idle), collected, mebibytes(sweepMost), workers.DefaultRecoverSlots, collected, mebibytes(workers.DefaultRecoverSlots*sweepMost))
}

// collected is how many times as much memory as what is in use the heap may
// have until garbage is collected (GOGC=100).
const collected = 2
