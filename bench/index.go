package main

import (
	"context"
	"encoding/json"
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
	drainWithin  = 10 * time.Minute
)

// recordsAt is the timestamp of the records: their index is nobody else's.
var recordsAt = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// contender drains a stream into Elasticsearch.
type contender struct {
	name  string
	start func(ctx context.Context, stream string) (drainer, error)
	runs  []drained
}

// drainer is a contender's process while it drains.
type drainer struct {
	*pipeline.Process
	finish func(context.Context) error
}

// drained is what one run took.
type drained struct {
	rate  float64 // records a second
	cpu   float64 // seconds per million records, of the whole life of the process
	peak  int64   // bytes
	other map[string]float64
}

// index measures the processor against the bare loop.
func (b *bench) index(ctx context.Context) error {
	source, url, err := b.startReplay(ctx, b.Records)
	if err != nil {
		return err
	}
	defer source.Kill()
	server := b.stack.Service(local.Elasticsearch)
	e := elastic{url: server.URL(), pid: server.Pid(), index: data.Index(recordsAt)}

	contenders := []*contender{{name: "processor", start: b.startProcessor(url)}}
	for _, inFlight := range []int{1, 2, 4} {
		contenders = append(contenders, &contender{name: fmt.Sprintf("bare loop, %d", inFlight), start: b.startBareloop(url, e.url, inFlight)})
	}
	for run := range b.Runs + 1 {
		for i := range contenders {
			c := contenders[(i+run)%len(contenders)] // nobody always goes first
			stream := fmt.Sprintf("bench-%d-%d", run, i)
			result, err := b.drain(ctx, e, url, source, stream, c)
			if err != nil {
				return fmt.Errorf("run %d of the %s: %w", run, c.name, err)
			}
			discarded := ""
			if run == 0 {
				discarded = "  (discarded)"
			} else {
				c.runs = append(c.runs, result)
			}
			say("index", "%-14s %7.0f records/s %6.2f CPU s per million%s", c.name, result.rate, result.cpu, discarded)
		}
	}
	b.compare(contenders[0], contenders[1:])
	return e.call(ctx, http.MethodDelete, "/"+e.index, "", nil)
}

// compare enters the figures of the processor and of the best bare loop.
func (b *bench) compare(processor *contender, loops []*contender) {
	rate := func(d drained) float64 { return d.rate }
	cpu := func(d drained) float64 { return d.cpu }
	loop := loops[best(loops, func(c *contender) float64 { return collect(c.runs, rate).median() })]
	ours, theirs := collect(processor.runs, rate), collect(loop.runs, rate)
	b.figures.add("index_ratio", ours.median()/theirs.median(), "index_records_s / bare_records_s; at least 0.85")
	ourCPU, theirCPU := collect(processor.runs, cpu), collect(loop.runs, cpu)
	b.figures.add("cpu_ratio", ourCPU.median()/theirCPU.median(), "index_cpu_s / bare_cpu_s; at most 2")
	b.figures.add("index_records_s", ours.median(), "%s; median and range of %d runs with %d records", ours, b.Runs, b.Records)
	b.figures.add("bare_records_s", theirs.median(), "%s; %s in flight a shard, the best of 1, 2 and 4", theirs, loop.name[len("bare loop, "):])
	b.figures.add("index_cpu_s", ourCPU.median(), "%s; CPU seconds per million records, of the worker's whole life", ourCPU)
	b.figures.add("bare_cpu_s", theirCPU.median(), "%s", theirCPU)
	for _, other := range []string{local.Elasticsearch, local.Temporal, "replay"} {
		of := func(d drained) float64 { return d.other[other] }
		with, without := collect(processor.runs, of), collect(loop.runs, of)
		b.figures.add("index_"+other+"_cpu_s", with.median(), "%s; beside the bare loop %s", with, short(without.median()))
	}
	peak := func(d drained) float64 { return mebibytes(d.peak) }
	b.figures.add("worker_peak_mib", collect(processor.runs, peak).median(), "%s; while it drains; the bare loop %s", collect(processor.runs, peak), short(collect(loop.runs, peak).median()))
}

// drain makes one run.
func (b *bench) drain(ctx context.Context, e elastic, source string, replaying *pipeline.Process, stream string, c *contender) (drained, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, drainWithin, fmt.Errorf("not drained within %v", drainWithin))
	defer cancel()
	if err := e.renew(ctx); err != nil {
		return drained{}, err
	}
	before, err := b.times(replaying)
	if err != nil {
		return drained{}, err
	}
	run, err := c.start(ctx, stream)
	if err != nil {
		return drained{}, err
	}
	defer run.Kill()
	end, err := e.await(ctx, b.Records, run.Ended())
	if err != nil {
		return drained{}, fmt.Errorf("%w; its log is %s", err, run.Log)
	}
	after, err := b.times(replaying)
	if err != nil {
		return drained{}, err
	}
	if err := errors.Join(run.finish(ctx), e.check(ctx, b.Records)); err != nil {
		return drained{}, err
	}
	read, err := readsOf(ctx, source, stream)
	if err != nil {
		return drained{}, err
	}
	cpu, peak := run.Usage()
	result := drained{
		rate: float64(b.Records) / end.Sub(read.First).Seconds(),
		cpu:  perMillion(cpu, b.Records), peak: peak, other: map[string]float64{},
	}
	for name, used := range after.since(before) {
		result.other[name] = perMillion(used, b.Records)
	}
	return result, nil
}

// startProcessor returns how to start a worker that reads the replayed stream,
// as a user would deploy it, but for the limits of Kinesis, which the replay
// has not.
func (b *bench) startProcessor(source string) func(context.Context, string) (drainer, error) {
	return func(ctx context.Context, stream string) (drainer, error) {
		p := b.pipeline()
		worker, err := p.StartWorker(ctx,
			"AWS_ENDPOINT_URL_KINESIS="+source, "MILLRACE_STREAM="+stream, "MILLRACE_STREAM_CALLS=-1", "MILLRACE_STREAM_BYTES=-1")
		if err != nil {
			return drainer{}, err
		}
		if _, err := p.Starter(ctx, "--stream", stream, "process", "start"); err != nil {
			worker.Kill()
			return drainer{}, err
		}
		return drainer{worker.Process, func(ctx context.Context) error {
			_, err := p.Starter(ctx, "--stream", stream, "process", "stop")
			return errors.Join(err, p.Stop())
		}}, nil
	}
}

func (b *bench) startBareloop(source, elasticsearch string, inFlight int) func(context.Context, string) (drainer, error) {
	return func(_ context.Context, stream string) (drainer, error) {
		process, err := pipeline.Start(pipeline.Command{
			Name: "bareloop", Program: b.bareloop, Log: filepath.Join(b.stack.LogDir(), "bareloop.log"),
			Args: []string{"-kinesis", source, "-elasticsearch", elasticsearch, "-stream", stream, "-in-flight", strconv.Itoa(inFlight)},
		})
		if err != nil {
			return drainer{}, fmt.Errorf("start the bare loop: %w", err)
		}
		return drainer{process, process.Wait}, nil
	}
}

// startReplay serves that many records from memory, in a process of its own.
func (b *bench) startReplay(ctx context.Context, records int) (*pipeline.Process, string, error) {
	ports, err := local.ChoosePorts(false, 0)
	if err != nil {
		return nil, "", fmt.Errorf("choose a port for the replay: %w", err)
	}
	address := "127.0.0.1:" + strconv.Itoa(ports[0])
	process, err := pipeline.Start(pipeline.Command{
		Name: "replay", Program: b.replay, Log: filepath.Join(b.stack.LogDir(), "replay.log"),
		Args: []string{"--listen", address, "--records", strconv.Itoa(records), "--shards", strconv.Itoa(streamShards), "--at", recordsAt.Format(time.RFC3339)},
	})
	if err != nil {
		return nil, "", fmt.Errorf("start the replay: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := process.AwaitReady(ctx, "http://"+address+replay.ReadsPath); err != nil {
		process.Kill()
		return nil, "", fmt.Errorf("start the replay: %w", err)
	}
	return process, "http://" + address, nil
}

// readsOf asks the replay what was read of a stream.
func readsOf(ctx context.Context, source, stream string) (reads replay.Reads, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, source+replay.ReadsPath+"?stream="+stream, nil)
	if err != nil {
		return reads, fmt.Errorf("make a request: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return reads, fmt.Errorf("ask the replay: %w", err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&reads); err != nil {
		return reads, fmt.Errorf("decode the replay's answer: %w", err)
	}
	return reads, nil
}
