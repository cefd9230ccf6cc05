package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"

	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"millrace/deploy/pipeline"
	"millrace/internal/load"
)

const (
	traceShare = 100 // one request of so many, whose first record carries the trace
	// tracingRate is a load that leaves the machine some rest, in records a second: at a
	// collector's maximum the sizes of its batches change from run to run, and what a
	// record costs with them.
	tracingRate = 2000
)

// traced is a pipeline with or without tracing.
type traced struct {
	name     string
	programs pipeline.Programs
	env      []string
	stream   string // where its worker reads
}

// tracing measures what tracing costs collector and worker in CPU: at 1 %, and, beside the
// programs of an earlier commit, while it is off.
func (b *bench) tracing(ctx context.Context) error {
	var spans spans
	backend := httptest.NewServer(&spans)
	defer backend.Close()
	plain, url, err := b.startReplay(ctx, replayName, b.Records)
	if err != nil {
		return err
	}
	defer plain.Kill()
	withTraces, tracedURL, err := b.startReplay(ctx, replayName+"_traced", b.Records, "--traced", fmt.Sprint(traceShare*perPost))
	if err != nil {
		return err
	}
	defer withTraces.Kill()
	off := traced{"off", b.programs, nil, url}
	onePercent := traced{"1 %", b.programs, []string{
		fmt.Sprintf("MILLRACE_TRACE_SAMPLE=%v", 1.0/traceShare), "OTEL_EXPORTER_OTLP_ENDPOINT=" + backend.URL,
	}, tracedURL}
	all := []traced{off, onePercent}
	if b.Before != "" {
		before := traced{"before", b.programs, nil, url}
		before.programs.Collector, before.programs.Worker = filepath.Join(b.Before, "collector"), filepath.Join(b.Before, "worker")
		all = append(all, before)
	}
	for _, side := range []struct {
		name    string
		measure func(context.Context, []traced) ([]spread, error)
	}{{"collector", b.tracingCollectors}, {"worker", b.tracingWorkers}} {
		seen := spans.seen.Load()
		cpu, err := side.measure(ctx, all)
		if err != nil {
			return fmt.Errorf("%s: %w", side.name, err)
		}
		if spans.seen.Load() == seen {
			return fmt.Errorf("%s: it has exported no span", side.name)
		}
		b.compareTracing(side.name, cpu)
	}
	return spans.failure()
}

// compareTracing enters what tracing costs one side.
func (b *bench) compareTracing(side string, cpu []spread) {
	ratios := pair(cpu[1], cpu[0])
	mean, bound := ratios.percent()
	b.figures.add("tracing_"+side+"_percent", mean, "what tracing 1 %% costs in CPU: %s; %s CPU seconds per million records with it, %s without", ratios, short(cpu[1].median()), short(cpu[0].median()))
	b.figures.add("tracing_"+side+"_percent_most", bound, "with 95 %% confidence; at most 5")
	if len(cpu) == 3 {
		ratios := pair(cpu[0], cpu[2])
		mean, bound := ratios.percent()
		b.figures.add("tracing_off_"+side+"_percent", mean, "what this commit costs without tracing, against the one in %s: %s; it %s", b.Before, ratios, short(cpu[2].median()))
		b.figures.add("tracing_off_"+side+"_percent_most", bound, "with 95 %% confidence; at most 5")
	}
}

// tracingCollectors returns the CPU seconds per million records of each, by turns at the
// same steady load.
func (b *bench) tracingCollectors(ctx context.Context, all []traced) ([]spread, error) {
	type contender struct {
		*pipeline.Program
		settings load.Settings
	}
	var contenders []contender
	for _, c := range all {
		p := b.with(c.programs).pipeline()
		key, err := p.CreateKey(ctx, "bench")
		if err != nil {
			return nil, err
		}
		collector, err := p.StartCollector(ctx, append(c.env, "INGEST=temporal", "AWS_ENDPOINT_URL_KINESIS="+c.stream)...)
		if err != nil {
			return nil, err
		}
		defer collector.Kill()
		contenders = append(contenders, contender{collector, load.Settings{URL: collector.URL, Key: key, Connections: connections, PerPost: perPost, Rate: tracingRate}})
	}
	cpu := make([]spread, len(all))
	for run := range b.Pairs + 1 {
		for i := range contenders {
			at := (i + run) % len(contenders) // the order rotates
			c := contenders[at]
			before, err := pipeline.CPUTime(c.Pid())
			if err != nil {
				return nil, err
			}
			sender, err := post(ctx, c.settings, b.For)
			if err == nil {
				err = b.awaitBatches(ctx)
			}
			if err != nil {
				return nil, fmt.Errorf("run %d of the one with tracing %s: %w", run, all[at].name, err)
			}
			after, err := pipeline.CPUTime(c.Pid())
			if err != nil {
				return nil, err
			}
			cost := perMillion(after-before, int(sender.Counts().Accepted))
			say("tracing", "collector, %-8s %6.2f CPU s per million%s", all[at].name, cost, discarded(run))
			if run > 0 {
				cpu[at] = append(cpu[at], cost)
			}
		}
	}
	return cpu, nil
}

// tracingWorkers returns the CPU seconds per million records of each, by turns over the same
// records.
func (b *bench) tracingWorkers(ctx context.Context, all []traced) ([]spread, error) {
	var contenders []*contender
	for _, c := range all {
		contenders = append(contenders, &contender{name: "worker, " + c.name, start: func(ctx context.Context, stream string) (drainer, error) {
			return b.with(c.programs).startConsumer(ctx, c.stream, stream, "process", c.env...)
		}})
	}
	err := b.alternate(ctx, "tracing", b.Pairs, contenders, b.into(b.elastic()))
	var cpu []spread
	for _, c := range contenders {
		cpu = append(cpu, collect(c.runs, cpuOf))
	}
	return cpu, err
}

// with returns the same bench with other programs.
func (b *bench) with(programs pipeline.Programs) *bench {
	other := *b
	other.programs = programs
	return &other
}

// spans is where programs export their spans to, by OTLP over HTTP.
type spans struct {
	seen atomic.Int64
	bad  atomic.Pointer[error]
}

func (s *spans) failure() error {
	if err := s.bad.Load(); err != nil {
		return *err
	}
	return nil
}

// ServeHTTP takes an ExportTraceServiceRequest.
func (s *spans) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	request := ptraceotlp.NewExportRequest()
	if err == nil {
		err = request.UnmarshalProto(body)
	}
	if err != nil {
		err = fmt.Errorf("read exported spans: %w", err)
		s.bad.Store(&err)
	}
	s.seen.Add(int64(request.Traces().SpanCount()))
}
