package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"text/tabwriter"
	"time"

	"millrace/internal/indexing"
	"millrace/internal/stream"
	"millrace/tools/scale/simulation"
)

// simulating is the command that plays a pipeline.
type simulating struct {
	Shards    int           `help:"Shards of the stream." default:"1000"`
	Rate      float64       `help:"Records a second, of all shards." default:"617000"`
	Record    float64       `help:"Bytes of a record as agents post it, on average." default:"450"`
	Documents float64       `help:"Documents in a record of the stream; 1: singles." default:"20"`
	Workers   int           `help:"Workers of 4 processors; 0: as many as are 70 %% busy, and have the memory for all shards." default:"0"`
	Slots     int           `help:"Shards that a worker indexes at once, at most: its --index-slots; 0: as many as it needs when a third of the workers is lost." name:"index-slots" default:"0"`
	Cluster   int           `help:"Processors of Elasticsearch; 0: as many as are 70 %% busy." default:"0"`
	For       time.Duration `help:"How long to play." default:"5m"`
	KillAt    time.Duration `help:"When workers are killed." default:"60s"`
	Kill      float64       `help:"Share of the workers that are killed; none come in their place." default:"0"`
	SlowAt    time.Duration `help:"When the cluster becomes slow." default:"60s"`
	SlowFor   time.Duration `help:"How long it is." default:"30s"`
	Slow      float64       `help:"How many times longer it takes for everything; 0: it is never slow." default:"0"`
	SplitAt   time.Duration `help:"When shards are split." default:"60s"`
	Split     int           `help:"How many shards are split." default:"0"`
	Seed      uint64        `help:"Another seed gives other dice." default:"1"`
	Every     time.Duration `help:"Time between two lines of what happens." default:"10s"`
	JSON      bool          `help:"Print the result as one JSON object, and no lines." name:"json"`
}

// settings are what is to be played.
func (c simulating) settings(u Units) simulation.Settings {
	larger := (c.Record + u.Head) / u.Document
	worker := u.WorkerPack
	if c.Documents <= 1 {
		worker = u.WorkerSingle
	}
	costs := simulation.Costs{
		WorkerRecord: worker / 1e6 * larger, WorkerBulk: u.WorkerBulk / 1e3, WorkerCall: u.WorkerCall / 1e3,
		ClusterRecord: u.Elasticsearch / 1e6 * larger, ClusterBulk: u.ElasticsearchBulk / 1e3,
		BulkLatency: time.Duration(u.BulkLatency * float64(time.Millisecond)),
	}
	s := simulation.Settings{
		Shards: c.Shards, Workers: c.Workers, Slots: c.Slots, Rate: c.Rate, For: c.For, Seed: c.Seed, Costs: costs,
		RecordBytes: u.bytes(c.Documents) * (c.Record + u.Head) / (u.Posted + u.Head), MemoryBytes: c.Record + u.Head + indexing.RecordOverhead,
		PageRecords: stream.DefaultLimitPerCall * c.Documents, WorkerCores: smallCPUs, ClusterCores: c.Cluster,
		Kill: simulation.Kill{At: c.KillAt, Share: c.Kill}, Slow: simulation.Slow{At: c.SlowAt, For: c.SlowFor, Factor: c.Slow},
		Split: simulation.Split{At: c.SplitAt, Shards: c.Split},
	}
	// A shard that is read as often as it may be sends a bulk for each page.
	bulks := float64(c.Shards) * min(stream.DefaultCallsPerSecond, c.Rate/float64(c.Shards))
	if s.Workers == 0 {
		s.Workers = max(int(math.Ceil((c.Rate*costs.WorkerRecord+bulks*costs.WorkerBulk)/busy/smallCPUs)), int(workersFor(float64(c.Shards))))
	}
	if s.Slots == 0 {
		s.Slots = int(slotsOf(float64(s.Shards), float64(s.Workers)))
	}
	if s.ClusterCores == 0 {
		s.ClusterCores = max(int(math.Ceil((c.Rate*costs.ClusterRecord+bulks*costs.ClusterBulk)/busy)), leastElasticsearch*largeCPUs)
	}
	return s
}

// Run plays it.
func (c simulating) Run() error {
	u, err := measured()
	if err != nil {
		return err
	}
	s := c.settings(u)
	if err := s.Validate(); err != nil {
		return err //nolint:wrapcheck // it names the flag
	}
	r := simulation.Run(s)
	if c.JSON {
		if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
			return fmt.Errorf("print the result: %w", err)
		}
		return nil
	}
	c.print(os.Stdout, s, r)
	return nil
}

func (c simulating) print(w io.Writer, s simulation.Settings, r simulation.Result) {
	fmt.Fprintf(w, "%d shards, %s records a second, %d workers of %d processors and %d slots, a cluster of %d\n\n", s.Shards, count(s.Rate), s.Workers, s.WorkerCores, s.Slots, s.ClusterCores)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "second\tlongest lag\tshards behind\tindexed a second\twrites of Temporal a second\t")
	every := max(int(c.Every.Seconds()), 1)
	before := simulation.Sample{}
	for n, at := range r.Samples {
		if (n+1)%every == 0 {
			passed := at.At - before.At
			fmt.Fprintf(t, "%.0f\t%.1f s\t%d\t%s\t%s\t\n", at.At, at.Lag, at.Behind, count((at.Indexed-before.Indexed)/passed), count((at.Writes-before.Writes)/passed))
			before = at
		}
	}
	_ = t.Flush() // to a terminal
	fmt.Fprintf(w, "\ndelay %.0f ms on average, %.0f ms p99, %.1f s at most; lag at most %.1f s; all as before after: %s; %s records sent twice\n",
		r.DelayAverage, r.DelayP99, r.DelayMost, r.LagMost, recovered(r), count(r.Reread))
	fmt.Fprintf(w, "workers %.0f %% busy, cluster %.0f %%; Temporal %s writes a second, at most %s\n", 100*r.WorkersBusy, 100*r.ClusterBusy, count(r.Writes), count(r.WritesMost))
}

// scenario is a play of the document.
type scenario struct {
	Name    string
	Changes simulating // beside the usual ones
}

// scenarios are what docs/scale.md shows, with so many shards and records a second.
func scenarios(shards int, rate float64) []scenario {
	with := func(change func(*simulating)) simulating {
		c := simulating{
			Shards: shards, Rate: rate, Workers: max(shards/33, 3), Record: 450, Documents: 20, For: 3 * time.Minute, Seed: 1,
			KillAt: 30 * time.Second, SlowAt: 30 * time.Second, SlowFor: 30 * time.Second, SplitAt: 30 * time.Second,
		}
		change(&c)
		return c
	}
	return []scenario{
		{"nothing happens", with(func(*simulating) {})},
		{"a third of the workers is lost", with(func(c *simulating) { c.Kill = 1.0 / 3 })},
		{"the cluster takes three times as long for 30 s", with(func(c *simulating) { c.Slow = 3 })},
		{"a tenth of the shards is split", with(func(c *simulating) { c.Split = c.Shards / 10 })},
	}
}

// simulated is a table of the scenarios, as Markdown.
func simulated(u Units, scenarios []scenario) string {
	text := "| | delay, average | p99 | longest lag | all as before after | sent twice | Temporal, writes a second | at most |\n|---|---|---|---|---|---|---|---|\n"
	for _, s := range scenarios {
		r := simulation.Run(s.Changes.settings(u))
		text += fmt.Sprintf("| %s | %.0f ms | %s | %.1f s | %s | %s | %s | %s |\n", s.Name, r.DelayAverage, milliseconds(r.DelayP99), r.LagMost, recovered(r), count(r.Reread), count(r.Writes), count(r.WritesMost))
	}
	return text
}

// recovered says when all is as before.
func recovered(r simulation.Result) string {
	switch {
	case r.BehindAtEnd > 0:
		return "not in this time"
	case r.Recovered == 0:
		return "–"
	}
	return fmt.Sprintf("%.0f s", r.Recovered)
}

// milliseconds prints a time, from a second on in seconds.
func milliseconds(ms float64) string {
	if ms < 1000 {
		return fmt.Sprintf("%.0f ms", ms)
	}
	return fmt.Sprintf("%.1f s", ms/1000)
}
