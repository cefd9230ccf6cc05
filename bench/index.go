package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"millrace/bench/data"
	"millrace/bench/replay"
	"millrace/deploy/local"
	"millrace/deploy/pipeline"
)

const streamShards = 4

// recordsAt is the timestamp of the records: no other test has their index.
var recordsAt = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// index measures who brings the same records into Elasticsearch, by turns: the
// processor out of a stream, a backfill out of the backup, as far as they are
// asked for, and the bare loop.
func (b *bench) index(ctx context.Context) error {
	source, url, err := b.startReplay(ctx, b.Records)
	if err != nil {
		return err
	}
	defer source.Kill()
	beside := []*pipeline.Process{source}
	server := b.stack.Service(local.Elasticsearch)
	e := elastic{url: server.URL(), pid: server.Pid(), index: data.Index(recordsAt)}

	processor, backfill := &contender{name: "processor", start: b.startProcessor(url)}, &contender{name: "backfill"}
	var contenders, loops []*contender
	if b.measures("index") {
		contenders = append(contenders, processor)
	}
	if b.measures("recover") {
		objects, url, err := b.startStore(ctx)
		if err != nil {
			return err
		}
		defer objects.Kill()
		if err := fillBackup(ctx, url, b.Records); err != nil {
			return err
		}
		beside = append(beside, objects)
		backfill.start = b.startBackfill(url)
		contenders = append(contenders, backfill)
	}
	for _, inFlight := range []int{1, 2, 4} {
		loops = append(loops, &contender{name: fmt.Sprintf("bare loop, %d", inFlight), start: b.startBareloop(url, e.url, inFlight)})
	}
	err = b.alternate(ctx, "index", append(contenders, loops...), func(ctx context.Context, c *contender, run string) (drained, error) {
		if err := e.renew(ctx); err != nil {
			return drained{}, err
		}
		result, err := b.measured(ctx, c, run, b.Records, beside, func(ctx context.Context, d drainer) (int, time.Time, error) {
			end, err := e.await(ctx, b.Records, d.Ended())
			return b.Records, end, err
		})
		return result, errors.Join(err, e.check(ctx, b.Records))
	})
	if err != nil {
		return err
	}
	loop := loops[best(loops, func(c *contender) float64 { return collect(c.runs, rateOf).median() })]
	if b.measures("index") {
		b.compareIndex(processor, loop)
	}
	if b.measures("recover") {
		b.compareRecover(backfill, loop)
	}
	rate, cpu := collect(loop.runs, rateOf), collect(loop.runs, cpuOf)
	b.figures.add("bare_records_s", rate.median(), "%s; %s in flight a shard, the best of 1, 2 and 4", rate, loop.name[len("bare loop, "):])
	b.figures.add("bare_cpu_s", cpu.median(), "%s", cpu)
	return e.call(ctx, http.MethodDelete, "/"+e.index, "", nil)
}

// compareIndex enters the figures of the processor beside the bare loop.
func (b *bench) compareIndex(processor, loop *contender) {
	ours, theirs := collect(processor.runs, rateOf), collect(loop.runs, rateOf)
	ourCPU, theirCPU := collect(processor.runs, cpuOf), collect(loop.runs, cpuOf)
	b.figures.add("index_ratio", ours.median()/theirs.median(), "index_records_s / bare_records_s; at least 0.85")
	b.figures.add("cpu_ratio", ourCPU.median()/theirCPU.median(), "index_cpu_s / bare_cpu_s; at most 2")
	b.figures.add("index_records_s", ours.median(), "%s; median and range of %d runs with %d records; processors %.0f %% busy",
		ours, b.Runs, b.Records, 100*collect(processor.runs, busyOf).median())
	b.figures.add("index_cpu_s", ourCPU.median(), "%s; CPU seconds per million records, of the worker's whole life", ourCPU)
	for _, other := range []string{local.Elasticsearch, local.Temporal, replayName} {
		with, without := collect(processor.runs, otherOf(other)), collect(loop.runs, otherOf(other))
		b.figures.add("index_"+other+"_cpu_s", with.median(), "%s; beside the bare loop %s", with, short(without.median()))
	}
	peak := collect(processor.runs, peakOf)
	b.figures.add("worker_peak_mib", peak.median(), "%s; while it drains", peak)
}

// startProcessor returns how to start a worker that reads the replayed stream,
// as a user would deploy it, but for the limits of Kinesis, which the replay
// has not.
func (b *bench) startProcessor(source string) func(context.Context, string) (drainer, error) {
	return func(ctx context.Context, stream string) (drainer, error) {
		return b.startConsumer(ctx, source, stream, "process")
	}
}

// startConsumer starts a worker, and what processes or backs up a stream.
func (b *bench) startConsumer(ctx context.Context, source, stream, what string, more ...string) (drainer, error) {
	p := b.pipeline()
	worker, err := p.StartWorker(ctx, append(more,
		"AWS_ENDPOINT_URL_KINESIS="+source, "MILLRACE_STREAM="+stream, "MILLRACE_STREAM_CALLS=-1", "MILLRACE_STREAM_BYTES=-1")...)
	if err != nil {
		return drainer{}, err
	}
	idle, err := pipeline.PeakMemory(worker.Pid())
	if err == nil {
		_, err = p.Starter(ctx, "--stream", stream, what, "start")
	}
	if err != nil {
		worker.Kill()
		return drainer{}, err
	}
	finish := func(ctx context.Context) error {
		stop := []string{"--stream", stream, what, "stop"}
		if what == "process" {
			stop = append(stop, "--yes")
		}
		_, err := p.Starter(ctx, stop...)
		return errors.Join(err, p.Stop())
	}
	return drainer{worker.Process, worker, firstRead(source, stream), finish, idle}, nil
}

func (b *bench) startBareloop(source, elasticsearch string, inFlight int) func(context.Context, string) (drainer, error) {
	return func(_ context.Context, stream string) (drainer, error) {
		return b.runBareloop(source, stream, "-elasticsearch", elasticsearch, "-in-flight", strconv.Itoa(inFlight))
	}
}

func (b *bench) runBareloop(source, stream string, args ...string) (drainer, error) {
	process, err := pipeline.Start(pipeline.Command{
		Name: "bareloop", Program: b.bareloop, Log: filepath.Join(b.stack.LogDir(), "bareloop.log"),
		Args: append([]string{"-kinesis", source, "-stream", stream}, args...),
	})
	if err != nil {
		return drainer{}, fmt.Errorf("start the bare loop: %w", err)
	}
	return drainer{process, nil, firstRead(source, stream), process.Wait, 0}, nil
}

// replayName is what the replay's process is called.
const replayName = "replay"

// startReplay serves that many records from memory.
func (b *bench) startReplay(ctx context.Context, records int, more ...string) (*pipeline.Process, string, error) {
	return b.serve(ctx, replayName, b.replay, replay.ReadsPath, append(more,
		"--records", strconv.Itoa(records), "--shards", strconv.Itoa(streamShards), "--at", recordsAt.Format(time.RFC3339))...)
}

// firstRead returns when a stream of the replay was read first.
func firstRead(source, stream string) func(context.Context) (time.Time, error) {
	return func(ctx context.Context) (time.Time, error) {
		var reads replay.Reads
		err := ask(ctx, source+replay.ReadsPath+"?stream="+stream, &reads)
		return reads.First, err
	}
}
