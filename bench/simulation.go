package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"millrace/bench/data"
	"millrace/deploy/local"
	"millrace/deploy/pipeline"
	"millrace/internal/config"
	"millrace/internal/indexing"
	"millrace/internal/longcall"
	"millrace/internal/stream"
	"millrace/test/kit/audit"
	"millrace/tools/scale/simulation"
)

const (
	// smallBulk has so few records that what a bulk costs beside them shows.
	smallBulk = 100
	// learnedShards is the number of shards whose run tells the simulation what a record costs. It foretells the others.
	learnedShards = 8
	// manyShards is the largest number that is measured.
	manyShards = 64
	// leastLearned is the least number of records that tell what one costs, far above those of the runs that tell what a call does.
	leastLearned = 10 * manyShards * packed
	// latencySamples is how many bulks of one document tell what a bulk takes beside its work.
	latencySamples = 50

	// A worker is killed under a steady load on so many shards.
	killShards   = 8
	killRate     = 500
	killLoad     = 40 * time.Second
	killAfter    = 10 * time.Second
	killRepeated = 20 // simulated runs, of different times since the last heartbeat
)

// drain is a run that the simulation learns from, or foretells.
type drain struct {
	shards    int
	bulks     float64 // about
	source    *pipeline.Process
	contender *contender
}

func (d drain) records() float64 { return float64(d.contender.records) }

// total is what it took of something, in seconds.
func (d drain) total(of func(drained) float64) float64 {
	return collect(d.contender.runs, of).median() / 1e6 * d.records()
}

// startDrain serves the records of a drain.
func (b *bench) startDrain(ctx context.Context, shards, records, bulk int) (drain, error) {
	name := fmt.Sprintf("%s_%d_shards_%d_records_%d", replayName, shards, records, bulk)
	source, url, err := b.startReplay(ctx, name, records, "--shards", strconv.Itoa(shards), "--documents", strconv.Itoa(packed))
	if err != nil {
		return drain{}, err
	}
	settings := []string{fmt.Sprint("MILLRACE_INDEX_SLOTS=", shards), fmt.Sprint("MILLRACE_BULK_RECORDS=", bulk)}
	c := &contender{name: fmt.Sprintf("%d shards, %d, bulks of %d", shards, records, bulk), records: records, start: func(ctx context.Context, stream string) (drainer, error) {
		return b.startConsumer(ctx, url, stream, "process", settings...)
	}}
	each := math.Ceil(float64(records) / float64(shards) / float64(bulk))
	return drain{shards: shards, bulks: float64(shards) * each, source: source, contender: c}, nil
}

// simulation measures what the simulation must know, and how well it foretells what was measured.
func (b *bench) simulation(ctx context.Context) error {
	e := b.elastic()
	const large = simulation.BulkRecords
	var drains []drain
	var contenders []*contender
	var sources []*pipeline.Process
	defer func() {
		for _, s := range sources {
			s.Kill()
		}
	}()
	for _, of := range []struct{ shards, records, bulk int }{
		{1, b.Records, large},
		{learnedShards, b.Records, large},
		{manyShards, b.Records, large},
		{learnedShards, b.Records, smallBulk},
		{learnedShards, learnedShards * packed, large},
		{manyShards, manyShards * packed, large},
	} {
		d, err := b.startDrain(ctx, of.shards, of.records, of.bulk)
		if err != nil {
			return err
		}
		drains, contenders, sources = append(drains, d), append(contenders, d.contender), append(sources, d.source)
	}
	if err := b.alternate(ctx, "simulation", b.Runs, contenders, b.into(e, sources...)); err != nil {
		return err
	}
	latency, err := e.bulkLatency(ctx)
	if err != nil {
		return err
	}
	costs := b.learn(lessons{large: drains[1], small: drains[3], few: drains[4], calls: drains[5]}, latency)
	for _, d := range drains[:3] {
		played := simulation.Run(b.played(d.shards, costs))
		measured, foretold := collect(d.contender.runs, rateOf).median(), float64(b.Records)/played.DrainedAfter
		b.figures.add(fmt.Sprintf("simulation_%d_shards_percent", d.shards), 100*math.Abs(foretold/measured-1),
			"by how much the simulation is wrong about draining %d shards: it says %.0f records/s, measured are %.0f; at most 20", d.shards, foretold, measured)
	}
	return errors.Join(b.takeover(ctx, costs), e.call(ctx, http.MethodDelete, "/"+e.index, "", nil))
}

// lessons are drains that differ in one thing each: in the size of bulks, in the number of records, and in that of calls.
type lessons struct{ large, small, few, calls drain }

// of is what a record, a bulk and a call take of something, in seconds. What a run takes beside them is in none.
func (l lessons) of(what func(drained) float64) (record, bulk, call float64) {
	bulk = max(l.small.total(what)-l.large.total(what), 0) / (l.small.bulks - l.large.bulks)
	record = (l.large.total(what) - l.few.total(what) - bulk*(l.large.bulks-l.few.bulks)) / (l.large.records() - l.few.records())
	more := l.calls.total(what) - l.few.total(what) - bulk*(l.calls.bulks-l.few.bulks) - record*(l.calls.records()-l.few.records())
	return record, bulk, max(more, 0) / float64(l.calls.shards-l.few.shards)
}

// learn finds the costs.
func (b *bench) learn(l lessons, latency time.Duration) simulation.Costs {
	c := simulation.Costs{BulkLatency: latency}
	c.WorkerRecord, c.WorkerBulk, c.WorkerCall = l.of(cpuOf)
	c.ClusterRecord, c.ClusterBulk, _ = l.of(otherOf(local.Elasticsearch))
	for _, other := range []string{local.Temporal, l.large.source.Name} {
		record, _, call := l.of(otherOf(other))
		c.OtherRecord, c.OtherCall = c.OtherRecord+max(record, 0), c.OtherCall+call
	}
	b.figures.add("worker_bulk_cpu_ms", 1e3*c.WorkerBulk, "CPU of a bulk, beside that of its records, by bulks of %d", smallBulk)
	b.figures.add("worker_call_cpu_ms", 1e3*c.WorkerCall, "CPU of a call that reads a shard, beside that, by %d shards", l.calls.shards)
	b.figures.add("other_call_cpu_ms", 1e3*c.OtherCall, "likewise, of other programs, above all Temporal's server")
	b.figures.add("elasticsearch_bulk_cpu_ms", 1e3*c.ClusterBulk, "CPU of a bulk, beside that of its records")
	b.figures.add("bulk_latency_ms", milliseconds(latency), "a bulk of one document; median of %d", latencySamples)
	return c
}

// played is the machine that all of this runs on.
func (b *bench) played(shards int, costs simulation.Costs) simulation.Settings {
	document := float64(len(data.Records(1, recordsAt)[0]))
	return simulation.Settings{
		Shards: shards, Workers: 1, Slots: shards, Backlog: float64(b.Records), For: drainWithin, Costs: costs,
		RecordBytes: document / 5, MemoryBytes: document + indexing.RecordOverhead, PageRecords: stream.DefaultLimitPerCall * packed,
		OneMachine: runtime.NumCPU(), Unbounded: true,
	}
}

// bulkLatency is what a bulk of one document takes.
func (e elastic) bulkLatency(ctx context.Context) (time.Duration, error) {
	if err := e.renew(ctx); err != nil {
		return 0, err
	}
	var took []time.Duration
	for range latencySamples {
		begin := time.Now()
		if err := e.call(ctx, http.MethodPost, "/"+e.index+"/_bulk", "{\"create\":{}}\n{}\n", nil); err != nil {
			return 0, err
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// takeover kills one of two workers under a steady load, and compares how long records waited with what the simulation says.
func (b *bench) takeover(ctx context.Context, costs simulation.Costs) (err error) {
	resources := config.Resources{Stream: "bench-takeover", Bucket: "millrace-telemetry"}
	p := pipeline.New(pipeline.Settings{Programs: b.programs, Servers: b.stack.Env(), Dir: b.stack.LogDir(), Resources: resources, Shards: killShards})
	defer func() { err = errors.Join(err, p.Stop()) }()
	if err := p.Setup(ctx); err != nil {
		return err
	}
	var workers []*pipeline.Program
	for range 2 {
		w, err := p.StartWorker(ctx)
		if err != nil {
			return err
		}
		workers = append(workers, w)
	}
	if err := p.StartWorkflows(ctx); err != nil {
		return err
	}
	l, err := startLine(ctx, p, "direct")
	if err != nil {
		return err
	}
	stores := audit.Stores{Elasticsearch: b.stack.Service(local.Elasticsearch).URL(), S3: pipeline.S3(b.stack), Bucket: resources.Bucket, Tenant: warmUpTenant}
	warm, err := l.post(ctx, warmUpTenant, b.For/delayRounds)
	if err := errors.Join(err, arrive(ctx, stores, []audit.Sent{warm})); err != nil {
		return err
	}
	killed := time.AfterFunc(killAfter, workers[0].Kill)
	defer killed.Stop()
	sent, err := l.post(ctx, l.tenant(), killLoad)
	stores.Tenant = l.tenant()
	if err := errors.Join(err, arrive(ctx, stores, []audit.Sent{sent})); err != nil {
		return err
	}
	report, err := audit.Run(ctx, stores, sent)
	if err := errors.Join(err, report.Clean()); err != nil {
		return err
	}
	s := b.played(killShards, costs)
	s.Workers, s.Backlog, s.Rate, s.For, s.Unbounded = 2, 0, killRate, killLoad+time.Minute, false
	s.Kill = simulation.Kill{At: killAfter, Share: 0.5}
	most := 0.0
	for seed := range uint64(killRepeated) {
		s.Seed, s.Kill.At = seed, killAfter+time.Duration(seed)*longcall.HeartbeatEvery/killRepeated // at any time since the last heartbeat
		most += simulation.Run(s).DelayMost / killRepeated
	}
	measured := report.Delay.Quantile(1).Seconds()
	b.figures.add("takeover_s", measured, "longest delay when one of two workers is killed, %d shards at %d records/s", killShards, killRate)
	b.figures.add("simulation_takeover_percent", 100*math.Abs(most/measured-1), "by how much the simulation is wrong about that: it says %.1f s on average; when the last heartbeat was decides 4 s of it", most)
	return nil
}
