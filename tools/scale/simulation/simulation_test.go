package simulation

import (
	"math"
	"reflect"
	"testing"
	"time"
)

// usual is a light load on machines of its own: 100 records a second and shard.
func usual(shards int) Settings {
	return Settings{
		Shards: shards, Workers: 4, Slots: 64, Rate: 100 * float64(shards), For: time.Minute, Seed: 1,
		Costs:       Costs{WorkerRecord: 2e-6, ClusterRecord: 20e-6, BulkLatency: 10 * time.Millisecond},
		RecordBytes: 100, MemoryBytes: 700, PageRecords: 100_000, WorkerCores: 4, ClusterCores: 16,
	}
}

func run(t *testing.T, s Settings) Result {
	t.Helper()
	if err := s.Validate(); err != nil {
		t.Fatal(err)
	}
	r := Run(s)
	short := r
	short.Samples = nil
	t.Logf("%+v", short)
	return r
}

func within(t *testing.T, what string, got, least, most float64) {
	t.Helper()
	if !(got >= least && got <= most) {
		t.Errorf("%s is %g, want %g to %g", what, got, least, most)
	}
}

// Without a backlog, records wait for the next poll: half of 200 ms on average, and what a bulk takes.
func TestLightLoadWaitsForThePoll(t *testing.T) {
	t.Parallel()
	r := run(t, usual(64))
	within(t, "the average delay", r.DelayAverage, 105, 125)
	within(t, "the 99th percentile", r.DelayP99, 190, 250)
	within(t, "the share that is indexed", r.Indexed/r.Arrived, 0.99, 1)
	within(t, "writes a shard and second", r.WritesShard, 0.30, 0.42) // all begin in this minute
	within(t, "the cluster's load", r.ClusterBusy, 6400*20e-6/16*0.98, 6400*20e-6/16*1.02)
	if r.Reread != 0 || r.Recovered != 0 {
		t.Errorf("%g are sent twice, %g s late", r.Reread, r.Recovered)
	}
}

// A backlog is drained as fast as the narrowest part allows: the cluster, a shard's bytes, or its bulks' latency.
func TestBacklogDrainsAsFastAsTheNarrowestPart(t *testing.T) {
	t.Parallel()
	backlog := usual(8)
	backlog.Rate, backlog.Backlog, backlog.Unbounded, backlog.OneMachine = 0, 2e6, true, 2
	r := run(t, backlog)
	within(t, "the rate of two processors", 2e6/r.DrainedAfter, 0.95*2/22e-6, 1.01*2/22e-6)

	bytes := usual(4)
	bytes.Rate, bytes.Backlog, bytes.RecordBytes, bytes.For = 0, 2e6, 600, 3*time.Minute
	r = run(t, bytes)
	within(t, "the rate of four shards", 2e6/r.DrainedAfter, 0.90*4*(2<<20)/600, 1.03*4*(2<<20)/600)
}

// Whom a kill hits, others miss after the last heartbeat: they begin again where it stood, and send twice what came since.
func TestKilledWorkersAreMissed(t *testing.T) {
	t.Parallel()
	s := usual(64)
	s.Kill = Kill{At: 20 * time.Second, Share: 0.25}
	s.Slow.At, s.Split.At = s.Kill.At, s.Kill.At // of what does not happen
	r := run(t, s)
	within(t, "the longest lag", r.LagMost, takeoverAfter-heartbeatEvery, takeoverAfter+retryAfter+1)
	within(t, "until all is as before", r.Recovered, takeoverAfter-heartbeatEvery, takeoverAfter+retryAfter+3)
	within(t, "what is sent twice", r.Reread, 1, 16*100*(heartbeatEvery+0.5))
	within(t, "the share that is indexed", r.Indexed/r.Arrived, 0.99, 1)
}

func TestSlowClusterIsCaughtUpWith(t *testing.T) {
	t.Parallel()
	s := usual(64)
	s.ClusterCores, s.For = 1, 2*time.Minute // 13 % busy
	s.Slow = Slow{At: 20 * time.Second, For: 20 * time.Second, Factor: 15}
	r := run(t, s)
	// It takes 1 s for what comes in 0.52 s, and so 10 s too long in the end. Shards take turns, and each turn is longer than
	// the one before: a record may wait two of them.
	within(t, "the longest lag", r.LagMost, 9, 21)
	within(t, "until all is as before", r.Recovered, 20, 36)
	within(t, "the share that is indexed", r.Indexed/r.Arrived, 0.99, 1)
}

func TestChildrenBeginWhenTheirParentIsDrained(t *testing.T) {
	t.Parallel()
	s := usual(16)
	s.Split = Split{At: 20 * time.Second, Shards: 4}
	r := run(t, s)
	within(t, "the records that have come", r.Arrived, 16*100*60-1, 16*100*60+1)
	within(t, "the share that is indexed", r.Indexed/r.Arrived, 0.99, 1)
	within(t, "the longest lag", r.LagMost, 0.1, 1)
}

// With half of the workers gone, the others cannot do what comes: it is not over in the end.
func TestTooFewWorkersStayBehind(t *testing.T) {
	t.Parallel()
	s := usual(16)
	s.Workers, s.WorkerCores, s.Costs.WorkerRecord = 2, 1, 1e-3 // 80 % busy
	s.Kill = Kill{At: 20 * time.Second, Share: 0.5}
	if r := run(t, s); r.BehindAtEnd != 16 {
		t.Errorf("%d shards are behind, want all 16", r.BehindAtEnd)
	}
}

// TestShardsWaitForASlot: a worker reads as many as it has slots until calls end, and then others.
func TestShardsWaitForASlot(t *testing.T) {
	t.Parallel()
	s := usual(12)
	s.Workers, s.Slots, s.For = 1, 8, time.Duration((callFor+30)*float64(time.Second))
	r := run(t, s)
	within(t, "the longest lag", r.LagMost, callFor-1, callFor+2*heartbeatEvery+1)
	if r.BehindAtEnd != 4 {
		t.Errorf("%d shards are behind in the end, want 4", r.BehindAtEnd)
	}
	s.Workers = 2
	if r := run(t, s); r.LagMost > 1 {
		t.Errorf("with slots for all, a shard lags %g s", r.LagMost)
	}
}

// TestCallsTakeProcessors: shards whose records cost nothing are drained when their calls have begun.
func TestCallsTakeProcessors(t *testing.T) {
	t.Parallel()
	s := usual(64)
	s.Workers, s.Rate, s.Backlog, s.OneMachine, s.Unbounded = 1, 0, 64, 2, true
	s.Costs = Costs{WorkerCall: 0.1, OtherCall: 0.1}
	within(t, "until all is read", run(t, s).DrainedAfter, 64*0.2/2*0.95, 64*0.2/2*1.1)
}

func TestSameSettingsGiveSameResult(t *testing.T) {
	t.Parallel()
	s := usual(16)
	s.Kill = Kill{At: 10 * time.Second, Share: 0.5}
	first, second := Run(s), Run(s)
	if !reflect.DeepEqual(first, second) {
		t.Error("two runs differ")
	}
	s.Seed = 2
	if third := Run(s); reflect.DeepEqual(first, third) {
		t.Error("the seed changes nothing")
	}
}

func TestSettingsThatCannotBePlayedAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Settings){
		"no shard":           func(s *Settings) { s.Shards = 0 },
		"no worker":          func(s *Settings) { s.Workers = 0 },
		"no slot":            func(s *Settings) { s.Slots = 0 },
		"no rate":            func(s *Settings) { s.Rate = math.NaN() },
		"no worker left":     func(s *Settings) { s.Kill.Share = 1 },
		"the only worker":    func(s *Settings) { s.Workers, s.Kill.Share = 1, 0.5 },
		"quicker":            func(s *Settings) { s.Slow.Factor = 0.5 },
		"more than all":      func(s *Settings) { s.Split.Shards = s.Shards + 1 },
		"no processor":       func(s *Settings) { s.WorkerCores = 0 },
		"records of no size": func(s *Settings) { s.RecordBytes = 0 },
	} {
		s := usual(4)
		change(&s)
		if s.Validate() == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}
