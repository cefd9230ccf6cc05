package simulation

import (
	"math"
	"slices"
	"time"
)

// Result is what came of a run.
type Result struct {
	Arrived float64 `json:"arrived"` // records, with the backlog
	Indexed float64 `json:"indexed"` // each once
	Reread  float64 `json:"reread"`  // sent once more, after a kill
	// DrainedAfter is when the last record of a backlog was indexed, in seconds; 0 if that was never.
	DrainedAfter float64 `json:"drained_after_s"`
	DelayAverage float64 `json:"delay_avg_ms"` // from the stream to the index
	DelayP50     float64 `json:"delay_p50_ms"`
	DelayP99     float64 `json:"delay_p99_ms"`
	DelayMost    float64 `json:"delay_most_s"`
	LagMost      float64 `json:"lag_most_s"` // of any shard, at a full second
	// Recovered is how long, in seconds since what happened first, any shard lagged more than a second; 0 if none did.
	Recovered float64 `json:"recovered_after_s"`
	// BehindAtEnd is how many shards lag so much in the end: then it is not over.
	BehindAtEnd int      `json:"behind_at_end"`
	Writes      float64  `json:"temporal_writes_s"` // of Temporal's store, on average
	WritesMost  float64  `json:"temporal_writes_most_s"`
	WritesShard float64  `json:"temporal_writes_per_shard_s"`
	WorkersBusy float64  `json:"workers_busy"`
	ClusterBusy float64  `json:"cluster_busy"`
	Samples     []Sample `json:"-"`
}

// Sample is a look at a full second.
type Sample struct {
	At      float64
	Lag     float64 // of the shard that is furthest behind, in seconds
	Behind  int     // shards that lag more than a second
	Indexed float64 // since the beginning
	Writes  float64 // likewise
}

// late is the lag in seconds from which a shard is behind.
const late = 1

func (p *play) sample() {
	at := Sample{At: p.now, Indexed: p.indexed, Writes: p.writes}
	for _, s := range p.shards {
		lag := s.lag()
		at.Lag = max(at.Lag, lag)
		if lag > late {
			at.Behind++
		}
	}
	p.samples = append(p.samples, at)
}

func (p *play) result() Result {
	r := Result{Indexed: p.indexed, Reread: p.reread, Samples: p.samples}
	for _, s := range p.shards {
		if s.since <= p.now {
			r.Arrived += s.arrived(p.now)
		}
	}
	r.DelayAverage, r.DelayP50, r.DelayP99 = 1e3*p.delays.average(), 1e3*p.delays.quantile(0.5), 1e3*p.delays.quantile(0.99)
	r.DelayMost = p.delays.most
	if p.Backlog > 0 && p.Rate == 0 && p.indexed >= math.Floor(p.Backlog)-float64(p.Shards) {
		r.DrainedAfter = p.delays.last
	}
	before := 0.0
	for n, s := range p.samples {
		r.LagMost = max(r.LagMost, s.Lag)
		r.BehindAtEnd = s.Behind
		if s.Behind > 0 {
			r.Recovered = s.At + 1 - p.first()
		}
		if n > 0 { // in the first second, all calls begin
			r.WritesMost = max(r.WritesMost, s.Writes-before)
		}
		before = s.Writes
	}
	r.Recovered = max(r.Recovered, 0)
	r.Writes = p.writes / p.now
	r.WritesShard = r.Writes / float64(p.Shards)
	worked, cores := 0.0, 0.0
	for _, w := range p.workers {
		worked, cores = worked+w.busy, cores+float64(len(w.free))
	}
	if p.OneMachine == 0 {
		r.WorkersBusy = worked / cores / p.now
	}
	r.ClusterBusy = p.cluster.busy / float64(len(p.cluster.free)) / p.now
	return r
}

// first is when the first thing happens, in seconds; 0 where nothing does.
func (s Settings) first() float64 {
	var times []time.Duration
	if s.Kill.Share > 0 {
		times = append(times, s.Kill.At)
	}
	if s.Slow.Factor > 1 {
		times = append(times, s.Slow.At)
	}
	if s.Split.Shards > 0 {
		times = append(times, s.Split.At)
	}
	if len(times) == 0 {
		return 0
	}
	return slices.Min(times).Seconds()
}

// delays are how long records took, in steps of a twentieth, from a microsecond on.
type delays struct {
	counts [delayMost]float64
	sum, n float64
	most   float64
	last   float64 // when a record was indexed last
}

const (
	delaySteps = 20
	delayLeast = 1e-6
	delayMost  = 30 * delaySteps // 1e-6 s * e^30 is longer than anything that is played
)

// add enters records that came evenly between two times and are indexed now.
func (d *delays) add(now, from, to, records float64) {
	const parts = 4
	for part := range parts {
		delay := now - (from + (to-from)*(float64(part)+0.5)/parts)
		d.sum, d.n = d.sum+delay*records/parts, d.n+records/parts
		step := int(delaySteps * math.Log(max(delay/delayLeast, 1)))
		d.counts[min(step, delayMost-1)] += records / parts
	}
	d.most, d.last = max(d.most, now-from), now
}

func (d *delays) average() float64 { return d.sum / max(d.n, 1) }

func (d *delays) quantile(q float64) float64 {
	below := 0.0
	for step, count := range d.counts {
		if below += count; below >= q*d.n && below > 0 {
			return delayLeast * math.Exp((float64(step)+0.5)/delaySteps)
		}
	}
	return 0
}
