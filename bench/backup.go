package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"millrace/activities/backups"
	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/archive"
	"millrace/internal/stream"
)

const (
	// backupFactor: a backup is several times quicker than indexing, so it gets
	// more records, or what it takes to begin would count too much.
	backupFactor = 2
	// durableShare of the records is what is waited for: the last object of
	// each shard is written when it is old enough, or the backup is stopped.
	durableShare = 0.9
	// compressor is about what one takes, in bytes.
	compressor = 1 << 20
	// pagesHeld is how many pages a shard has in memory: see
	// backups.CopyShard.
	pagesHeld = 3
	// usualRecord is more than a record of the benchmarks and its pointers take.
	usualRecord = 768
)

// backup measures the backup against a bare loop that writes the same objects.
func (b *bench) backup(ctx context.Context) error {
	records := backupFactor * b.Records
	source, url, err := b.startReplay(ctx, replayName, records)
	if err != nil {
		return err
	}
	defer source.Kill()
	sink, address, err := b.startStore(ctx)
	if err != nil {
		return err
	}
	defer sink.Kill()
	ours := &contender{name: "backup", start: func(ctx context.Context, run string) (drainer, error) {
		return b.startConsumer(ctx, url, run, "backup", "AWS_ENDPOINT_URL_S3="+address, "MILLRACE_BUCKET="+run)
	}}
	bareloop := func(name string, more ...string) *contender {
		return &contender{name: name, start: func(_ context.Context, run string) (drainer, error) {
			return b.runBareloop(url, run, append(more, "-s3", address, "-bucket", run, "-object-bytes", strconv.Itoa(backups.DefaultBackupBytes))...)
		}}
	}
	loop, plain := bareloop("bare loop"), bareloop("bare loop, plain", "-plain")
	beside := []*pipeline.Process{source, sink}
	size := 0
	err = b.alternate(ctx, "backup", b.Runs, []*contender{ours, loop, plain}, func(ctx context.Context, c *contender, run string) (drained, error) {
		result, err := b.measured(ctx, c, run, records, beside, func(ctx context.Context, d drainer) (int, time.Time, error) {
			return awaitDurable(ctx, address, run, records)
		})
		if err != nil {
			return result, err
		}
		bytes, err := checkDurable(ctx, address, run, records)
		if c == ours {
			size = bytes
		}
		return result, err
	})
	if err != nil {
		return err
	}
	b.figures.add("backup_bytes_per_record", float64(size)/float64(records), "in S3, compressed")
	b.compareBackup(ours, loop, plain, records)
	return b.backupToEmulator(ctx, url, records)
}

// awaitDurable waits until most of the records are in objects, and returns how
// many were in the last of them, and when.
func awaitDurable(ctx context.Context, address, bucket string, records int) (int, time.Time, error) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for last, moved := 0, time.Now(); ; {
		calls, err := callsOf(ctx, address, bucket)
		if err != nil {
			return 0, time.Time{}, err
		}
		durable := 0
		for _, call := range calls {
			if durable += call.Records; float64(durable) >= durableShare*float64(records) {
				return durable, call.At, nil
			}
		}
		if durable != last {
			last, moved = durable, time.Now()
		}
		if time.Since(moved) > stuckAfter {
			return 0, time.Time{}, fmt.Errorf("%d of %d records are durable, and no more for %v", durable, records, stuckAfter)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, time.Time{}, context.Cause(ctx)
		}
	}
}

// checkDurable counts the records of all objects, and lets go of them. It returns how large they are.
func checkDurable(ctx context.Context, address, bucket string, records int) (bytes int, err error) {
	calls, err := callsOf(ctx, address, bucket)
	if err != nil {
		return 0, err
	}
	durable := 0
	for _, call := range calls {
		if !call.Read {
			durable, bytes = durable+call.Records, bytes+call.Bytes
		}
	}
	if durable != records {
		return 0, fmt.Errorf("%d records are in the objects, and not %d", durable, records)
	}
	return bytes, forget(ctx, address, bucket)
}

// compareBackup enters the figures of the backup beside the bare loops.
func (b *bench) compareBackup(backup, loop, plain *contender, records int) {
	ours, theirs := collect(backup.runs, rateOf), collect(loop.runs, rateOf)
	ourCPU, theirCPU := collect(backup.runs, cpuOf), collect(loop.runs, cpuOf)
	b.figures.add("backup_ratio", ours.median()/theirs.median(), "backup_records_s / backup_bare_records_s; at least 0.85")
	b.figures.add("backup_cpu_ratio", ourCPU.median()/theirCPU.median(), "backup_cpu_s / backup_bare_cpu_s")
	b.figures.add("backup_records_s", ours.median(), "%s; median and range of %d runs with %d records, until %.0f %% are durable in an S3 that has them in memory; processors %.0f %% busy",
		ours, b.Runs, records, 100*durableShare, 100*collect(backup.runs, busyOf).median())
	b.figures.add("backup_bare_records_s", theirs.median(), "%s; GetRecords, gzip, PutObject, with the same lines; with the records alone %s",
		theirs, short(collect(plain.runs, rateOf).median()))
	b.figures.add("backup_cpu_s", ourCPU.median(), "%s; CPU seconds per million records, of the worker's whole life", ourCPU)
	b.figures.add("backup_bare_cpu_s", theirCPU.median(), "%s; with the records alone %s", theirCPU, short(collect(plain.runs, cpuOf).median()))
	for _, other := range []string{replayName, storeName, local.Temporal} {
		with, without := collect(backup.runs, otherOf(other)), collect(loop.runs, otherOf(other))
		b.figures.add("backup_"+other+"_cpu_s", with.median(), "%s; beside the bare loop %s", with, short(without.median()))
	}
	peak, idle := collect(backup.runs, peakOf), collect(backup.runs, idleOf).median()
	page := mebibytes(min(stream.DefaultLimitPerCall*usualRecord, stream.MaxPageBytes))
	shard := mebibytes(backups.DefaultBackupBytes+compressor) + pagesHeld*page
	b.figures.add("backup_peak_mib", peak.median(), "%s; of the worker", peak)
	b.figures.add("backup_bound_mib", idle+collected*streamShards*shard,
		"%s of a worker that is idle, and %d times %d shards of %.1f MiB: an object of --backup-bytes, a compressor, %d pages of --limit-per-call records",
		short(idle), collected, streamShards, shard, pagesHeld)
}

// backupToEmulator measures the backup into the emulator's S3, once: what of
// the figures above it would have limited.
func (b *bench) backupToEmulator(ctx context.Context, source string, records int) error {
	const name = "bench-backup-emulator"
	client := pipeline.S3(b.stack)
	if _, err := archive.Create(ctx, client, name); err != nil {
		return err
	}
	c := &contender{name: "backup, emulator", start: func(ctx context.Context, run string) (drainer, error) {
		return b.startConsumer(ctx, source, run, "backup", "MILLRACE_BUCKET="+name)
	}}
	begin := time.Now()
	result, err := b.within(ctx, c, name, func(ctx context.Context, c *contender, run string) (drained, error) {
		return b.measured(ctx, c, run, records, nil, func(ctx context.Context, d drainer) (int, time.Time, error) {
			return awaitCounted(ctx, d.worker, records)
		})
	})
	if err != nil {
		return err
	}
	took := time.Since(begin)
	say("backup", "%-20s %7.0f records/s %6.2f CPU s per million", c.name, result.rate, result.cpu)
	share := result.other[local.AWS] * float64(records) / 1e6 / took.Seconds()
	b.figures.add("backup_emulator_records_s", result.rate, "one run into the emulator's S3 instead, which uses %.0f %% of the one processor that it can", 100*share)
	bucket := archive.Open(client, name)
	for key, err := range bucket.Keys(ctx, "") {
		if err := errors.Join(err, bucket.Delete(ctx, key)); err != nil {
			return err
		}
	}
	return nil
}

// awaitCounted waits until most of the records are durable, as the worker counts
// them.
func awaitCounted(ctx context.Context, worker *pipeline.Program, records int) (int, time.Time, error) {
	for {
		durable, err := worker.Metric(ctx, "millrace_backup_records_total")
		if err != nil {
			return 0, time.Time{}, err
		}
		if durable >= durableShare*float64(records) {
			return int(durable), time.Now(), nil
		}
		if err := pause(ctx, lookInterval); err != nil {
			return 0, time.Time{}, err
		}
	}
}
