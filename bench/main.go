// Command bench measures how fast the pipeline is, on this machine: processor,
// backup and recovery against a bare loop (see bareloop), the collector's
// answers, and the delay from one end to the other. It starts servers and programs of its
// own, prints a table, and as its last line one JSON object.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Runs    int           `help:"Measured runs of each contender, behind a discarded one, of backup, ingest and simulation." default:"5"`
	Records int           `help:"Records that are indexed in a run; a backup gets twice as many." default:"500000"`
	For     time.Duration `help:"How long load is put on the collector, for each figure." default:"20s"`
	Only    []string      `help:"What to measure: index, recover, backup, density, ingest, delay, logsdb, allocations; or tracing and simulation, which are not measured unless they are named." enum:"index,recover,backup,density,ingest,delay,logsdb,allocations,tracing,simulation" default:"index,recover,backup,density,ingest,delay,logsdb,allocations"`
	Pairs   int           `help:"Measured runs of each contender, behind a discarded one, of index, recover and tracing: ratios are of pairs." default:"10"`
	Before  string        `help:"Folder with the collector and worker of an earlier commit, to be measured beside: of ingest the collector, of tracing both." type:"existingdir" optional:""`
}

// Validate reports options that give no figure.
func (o options) Validate() error {
	if o.Runs < 1 || o.Records < 1 || o.For < time.Second {
		return fmt.Errorf("--runs, --records, --for: there must be something to measure")
	}
	if o.measures("simulation") && o.Records < leastLearned {
		return fmt.Errorf("--records: of %d, the simulation learns nothing; at least %d", o.Records, leastLearned)
	}
	if o.Pairs < leastPairs || o.Pairs > mostPairs {
		return fmt.Errorf("--pairs: from %d to %d", leastPairs, mostPairs)
	}
	return nil
}

func (o options) measures(what string) bool { return slices.Contains(o.Only, what) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("bench"), kong.Description("Measures how fast the pipeline is on this machine."))
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
