package main

import (
	"cmp"
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

const (
	streamShards = 4
	// packed is how many documents a pack holds: about as many as density finds at this number of shards.
	packed = 100
	// bulkRecords is how many records the bare loop sends in one request.
	bulkRecords = 10_000
)

// recordsAt is the timestamp of the records: no other test has their index.
var recordsAt = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// way is the records in a stream of one form, the processor that reads it, and the bare loop.
type way struct {
	source          *pipeline.Process
	processor, loop *contender
}

// index measures who brings the same records into Elasticsearch, by turns: the
// processor out of a stream of singles and of packs, and the bare loop out of each.
func (b *bench) index(ctx context.Context) error {
	e := b.elastic()
	singles, err := b.startWay(ctx, e, "singles", 1)
	if err != nil {
		return err
	}
	defer singles.source.Kill()
	packs, err := b.startWay(ctx, e, "packs", packed)
	if err != nil {
		return err
	}
	defer packs.source.Kill()
	contenders := []*contender{singles.loop, singles.processor, packs.loop, packs.processor}
	if err := b.alternate(ctx, "index", b.Pairs, contenders, b.into(e, singles.source, packs.source)); err != nil {
		return err
	}
	b.compareIndex(singles)
	b.comparePacks(packs, singles)
	rate, cpu := collect(singles.loop.runs, rateOf), collect(singles.loop.runs, cpuOf)
	b.figures.add("bare_records_s", rate.median(), "%s; of the %s", rate, singles.loop.name)
	b.figures.add("bare_cpu_s", cpu.median(), "%s", cpu)
	return e.call(ctx, http.MethodDelete, "/"+e.index, "", nil)
}

// elastic is the server of the stack, and the index of the records.
func (b *bench) elastic() elastic {
	server := b.stack.Service(local.Elasticsearch)
	return elastic{url: server.URL(), pid: server.Pid(), index: data.Index(recordsAt)}
}

// startWay serves the records, so many of them in one of the stream, and finds the best bare loop for them.
func (b *bench) startWay(ctx context.Context, e elastic, form string, documents int) (w way, err error) {
	source, url, err := b.startReplay(ctx, replayName+"_"+form, b.Records, "--documents", strconv.Itoa(documents))
	if err != nil {
		return w, err
	}
	w = way{source: source, processor: &contender{name: "processor, " + form, start: b.startProcessor(url)}}
	w.loop, err = b.bestLoop(ctx, form, b.into(e, source), func(inFlight int) starter {
		return b.startBareloop(url, e.url, inFlight, bulkRecords/documents)
	})
	if err != nil {
		source.Kill()
	}
	return w, err
}

// bestLoop returns the quickest of the bare loops with 1, 2 and 4 requests in flight a shard.
func (b *bench) bestLoop(ctx context.Context, of string, once func(context.Context, *contender, string) (drained, error), start func(inFlight int) starter) (*contender, error) {
	var loops []*contender
	for _, inFlight := range []int{1, 2, 4} {
		loops = append(loops, &contender{name: fmt.Sprintf("bare loop, %s, %d in flight", of, inFlight), start: start(inFlight)})
	}
	if err := b.alternate(ctx, "loop-"+of, 1, loops, once); err != nil {
		return nil, err
	}
	loop := loops[best(loops, func(c *contender) float64 { return collect(c.runs, rateOf).median() })]
	loop.runs = nil
	return loop, nil
}

// into returns how to measure a contender until it has brought all records into Elasticsearch.
func (b *bench) into(e elastic, beside ...*pipeline.Process) func(ctx context.Context, c *contender, run string) (drained, error) {
	return func(ctx context.Context, c *contender, run string) (drained, error) {
		if err := e.renew(ctx); err != nil {
			return drained{}, err
		}
		records := cmp.Or(c.records, b.Records)
		result, err := b.measured(ctx, c, run, records, beside, func(ctx context.Context, d drainer) (int, time.Time, error) {
			end, err := e.await(ctx, records, d.Ended())
			return records, end, err
		})
		return result, errors.Join(err, e.check(ctx, records))
	}
}

// compareIndex enters the figures of the processor beside the bare loop.
func (b *bench) compareIndex(w way) {
	ours, theirs := collect(w.processor.runs, rateOf), collect(w.loop.runs, rateOf)
	ourCPU, theirCPU := collect(w.processor.runs, cpuOf), collect(w.loop.runs, cpuOf)
	_, least, _ := pair(ours, theirs).bounds()
	b.figures.add("index_ratio", ours.median()/theirs.median(), "index_records_s / bare_records_s")
	b.figures.add("index_rate_low", least, "the same, pair by pair: at least that, with 95 %% confidence; at least 0.95")
	b.figures.add("cpu_ratio", ourCPU.median()/theirCPU.median(), "index_cpu_s / bare_cpu_s; at most 1.4")
	b.figures.add("index_records_s", ours.median(), "%s; median and range of %d runs with %d records; processors %.0f %% busy",
		ours, len(ours), b.Records, 100*collect(w.processor.runs, busyOf).median())
	b.figures.add("index_cpu_s", ourCPU.median(), "%s; CPU seconds per million records, from when the worker is ready until it has ended", ourCPU)
	start := collect(w.processor.runs, startOf)
	b.figures.add("worker_start_cpu_s", start.median(), "%s; until it is ready, in no other figure", start)
	for _, other := range []string{local.Elasticsearch, local.Temporal, w.source.Name} {
		with, without := collect(w.processor.runs, otherOf(other)), collect(w.loop.runs, otherOf(other))
		b.figures.add("index_"+other+"_cpu_s", with.median(), "%s; beside the bare loop %s", with, short(without.median()))
	}
	peak := collect(w.processor.runs, peakOf)
	b.figures.add("worker_peak_mib", peak.median(), "%s; while it drains", peak)
}

// comparePacks enters the figures of a stream of packs, beside its bare loop, and beside singles.
func (b *bench) comparePacks(packs, singles way) {
	ours, theirs := collect(packs.processor.runs, rateOf), collect(packs.loop.runs, rateOf)
	ourCPU, theirCPU := collect(packs.processor.runs, cpuOf), collect(packs.loop.runs, cpuOf)
	_, least, _ := pair(ours, theirs).bounds()
	below := spread(pair(ourCPU, collect(singles.processor.runs, cpuOf)))
	b.figures.add("pack_rate_low", least, "pack_index_records_s / pack_bare_records_s, pair by pair: at least that, with 95 %% confidence; at least 0.95")
	b.figures.add("pack_cpu_ratio", ourCPU.median()/theirCPU.median(), "pack_index_cpu_s / pack_bare_cpu_s; at most 1.4")
	b.figures.add("pack_cpu_below_single", below.median(), "%s; pack_index_cpu_s / index_cpu_s, pair by pair; at most 1", below)
	b.figures.add("pack_index_records_s", ours.median(), "%s; packs of %d documents", ours, packed)
	b.figures.add("pack_bare_records_s", theirs.median(), "%s; of the %s", theirs, packs.loop.name)
	b.figures.add("pack_index_cpu_s", ourCPU.median(), "%s", ourCPU)
	b.figures.add("pack_bare_cpu_s", theirCPU.median(), "%s", theirCPU)
	peak := collect(packs.processor.runs, peakOf)
	b.figures.add("pack_worker_peak_mib", peak.median(), "%s; while it drains", peak)
}

// startProcessor returns how to start a worker that reads the replayed stream,
// as a user would deploy it, but for the limits of Kinesis, which the replay
// has not.
func (b *bench) startProcessor(source string) starter {
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
	idle, start, err := whenReady(worker)
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
	return drainer{worker.Process, worker, firstRead(source, stream), finish, idle, start}, nil
}

// whenReady is what a worker has taken by then: bytes of memory, and of processors.
func whenReady(worker *pipeline.Program) (resident int64, cpu time.Duration, err error) {
	resident, err = pipeline.PeakMemory(worker.Pid())
	cpu, cpuErr := pipeline.CPUTime(worker.Pid())
	return resident, cpu, errors.Join(err, cpuErr)
}

func (b *bench) startBareloop(source, elasticsearch string, inFlight, limit int) starter {
	return func(_ context.Context, stream string) (drainer, error) {
		return b.runBareloop(source, stream, "-elasticsearch", elasticsearch, "-in-flight", strconv.Itoa(inFlight), "-limit", strconv.Itoa(limit))
	}
}

func (b *bench) runBareloop(source, stream string, args ...string) (drainer, error) {
	process, err := b.startLoop(append([]string{"-kinesis", source, "-stream", stream}, args...)...)
	if err != nil {
		return drainer{}, err
	}
	return drainer{process, nil, firstRead(source, stream), process.Wait, 0, 0}, nil
}

func (b *bench) startLoop(args ...string) (*pipeline.Process, error) {
	process, err := pipeline.Start(pipeline.Command{
		Name: "bareloop", Program: b.bareloop, Log: filepath.Join(b.stack.LogDir(), "bareloop.log"), Args: args,
	})
	if err != nil {
		return nil, fmt.Errorf("start the bare loop: %w", err)
	}
	return process, nil
}

// replayName is what the replay's process is called.
const replayName = "replay"

// startReplay serves that many records from memory.
func (b *bench) startReplay(ctx context.Context, name string, records int, more ...string) (*pipeline.Process, string, error) {
	return b.serve(ctx, name, b.replay, replay.ReadsPath, append([]string{
		"--records", strconv.Itoa(records), "--shards", strconv.Itoa(streamShards), "--at", recordsAt.Format(time.RFC3339),
	}, more...)...)
}

// firstRead returns when a stream of the replay was read first.
func firstRead(source, stream string) func(context.Context) (time.Time, error) {
	return func(ctx context.Context) (time.Time, error) {
		var reads replay.Reads
		err := ask(ctx, source+replay.ReadsPath+"?stream="+stream, &reads)
		return reads.First, err
	}
}
