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
	// latencySamples is how many bulks of one document tell what a bulk takes beside its work.
	latencySamples = 50

	// A worker is killed under a steady load on so many shards.
	killShards   = 8
	killRate     = 500
	killLoad     = 40 * time.Second
	killAfter    = 10 * time.Second
	killRepeated = 20 // simulated runs, of different times since the last heartbeat
)

// simulation measures what the simulation must know, and how well it foretells what was measured.
func (b *bench) simulation(ctx context.Context) error {
	e := b.elastic()
	type play struct {
		shards    int
		source    *pipeline.Process
		contender *contender
	}
	var plays []play
	var contenders []*contender
	var sources []*pipeline.Process
	add := func(shards int, name string, env ...string) error {
		source, url, err := b.startReplay(ctx, fmt.Sprintf("%s_%d_%s", replayName, shards, name), b.Records, "--shards", strconv.Itoa(shards), "--documents", strconv.Itoa(packed))
		if err != nil {
			return err
		}
		c := &contender{name: fmt.Sprintf("processor, %d shards, %s", shards, name), start: func(ctx context.Context, stream string) (drainer, error) {
			return b.startConsumer(ctx, url, stream, "process", append(env, "MILLRACE_INDEX_SLOTS="+strconv.Itoa(shards))...)
		}}
		plays, contenders, sources = append(plays, play{shards, source, c}), append(contenders, c), append(sources, source)
		return nil
	}
	defer func() {
		for _, s := range sources {
			s.Kill()
		}
	}()
	for _, shards := range []int{1, learnedShards, 64} {
		if err := add(shards, "packs"); err != nil {
			return err
		}
	}
	if err := add(learnedShards, "small bulks", "MILLRACE_BULK_RECORDS="+strconv.Itoa(smallBulk)); err != nil {
		return err
	}
	if err := b.alternate(ctx, "simulation", b.Runs, contenders, b.into(e, sources...)); err != nil {
		return err
	}
	latency, err := e.bulkLatency(ctx)
	if err != nil {
		return err
	}
	costs := b.learn(plays[1].contender, plays[3].contender, plays[1].source.Name, latency)
	for _, p := range plays[:3] {
		played := simulation.Run(b.played(p.shards, costs))
		measured, foretold := collect(p.contender.runs, rateOf).median(), float64(b.Records)/played.DrainedAfter
		b.figures.add(fmt.Sprintf("simulation_%d_shards_percent", p.shards), 100*math.Abs(foretold/measured-1),
			"by how much the simulation is wrong about draining %d shards: it says %.0f records/s, measured are %.0f; at most 20", p.shards, foretold, measured)
	}
	return errors.Join(b.takeover(ctx, costs), e.call(ctx, http.MethodDelete, "/"+e.index, "", nil))
}

// learn finds the costs: of bulks of two sizes, the difference is what a bulk costs.
func (b *bench) learn(large, small *contender, source string, latency time.Duration) simulation.Costs {
	perBulk := 1.0/smallBulk - 1.0/largeBulk(b.Records)
	split := func(of func(drained) float64) (record, bulk float64) {
		few, many := collect(large.runs, of).median()/1e6, collect(small.runs, of).median()/1e6
		bulk = max(many-few, 0) / perBulk
		return few - bulk/largeBulk(b.Records), bulk
	}
	c := simulation.Costs{BulkLatency: latency}
	c.WorkerRecord, c.WorkerBulk = split(cpuOf)
	c.ClusterRecord, c.ClusterBulk = split(otherOf(local.Elasticsearch))
	for _, other := range []string{local.Temporal, source} {
		c.OtherRecord += collect(large.runs, otherOf(other)).median() / 1e6
	}
	b.figures.add("worker_bulk_cpu_ms", 1e3*c.WorkerBulk, "CPU of a bulk, beside that of its records, by bulks of %d", smallBulk)
	b.figures.add("elasticsearch_bulk_cpu_ms", 1e3*c.ClusterBulk, "likewise")
	b.figures.add("bulk_latency_ms", milliseconds(latency), "a bulk of one document; median of %d", latencySamples)
	return c
}

// largeBulk is about how many records a bulk has where there is a backlog.
func largeBulk(records int) float64 {
	return min(simulation.BulkRecords, float64(records)/learnedShards)
}

// played is the machine that all of this runs on.
func (b *bench) played(shards int, costs simulation.Costs) simulation.Settings {
	document := float64(len(data.Records(1, recordsAt)[0]))
	return simulation.Settings{
		Shards: shards, Workers: 1, Backlog: float64(b.Records), For: drainWithin, Costs: costs,
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
