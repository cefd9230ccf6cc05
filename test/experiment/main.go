// Command experiment repeats the measurement that this project began with: how
// long records take from received by the collector to saved in Elasticsearch,
// under one load, with a consumer as it was before batches were bisected and
// duplicates skipped, with one as it was after, and with Millrace.
// docs/experiment.md says how, and what came of it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"millrace/test/experiment/lambda"
)

// options are fixed by what the first two contenders do: see docs/experiment.md.
type options struct {
	Rounds     int             `help:"Runs of each contender, in alternation." default:"2"`
	For        time.Duration   `help:"How long the load of a run lasts." default:"80s"`
	Drain      time.Duration   `help:"How long after its load a run may go on. What is not saved by then counts with its age." default:"15s"`
	WarmUp     time.Duration   `help:"Load before each run that does not count." default:"3s"`
	Shards     int             `help:"Shards of the stream." default:"8"`
	Rate       float64         `help:"New records a second." default:"200"`
	Burst      float64         `help:"New records a second in a burst." default:"800"`
	BurstEvery time.Duration   `help:"Time from one burst to the next." default:"15s"`
	BurstFor   time.Duration   `help:"How long a burst lasts." default:"1s"`
	Duplicates float64         `help:"Share of records that are posted a second time." default:"0.3"`
	Poison     float64         `help:"Share of records that the index refuses." default:"0.001"`
	Only       []string        `help:"Contenders to run: before, after, millrace." enum:"before,after,millrace" default:"before,after,millrace"`
	Out        string          `help:"Folder for experiment.csv, experiment.svg and the figures in experiment.md." default:"docs" type:"path"`
	Lambda     lambda.Settings `embed:"" prefix:"lambda-"`
}

// Validate reports options under which nothing would be shown.
func (o options) Validate() error {
	if o.Rounds < 1 || o.For < time.Second || o.Drain < 0 || o.WarmUp < time.Second || o.Shards < 1 {
		return errors.New("--rounds, --for, --drain, --warm-up, --shards: there must be something to measure")
	}
	if o.Rate <= 0 || o.Burst < o.Rate || o.BurstEvery <= 0 || o.BurstFor < 0 || o.BurstFor > o.BurstEvery {
		return errors.New("--rate, --burst, --burst-every, --burst-for: there must be a load, and bursts above it")
	}
	if o.Duplicates < 0 || o.Duplicates > 1 || o.Poison < 0 || o.Poison > 1 {
		return errors.New("--duplicates, --poison: shares are from 0 to 1")
	}
	return o.Lambda.Validate()
}

func (o options) runs(contender string) bool { return slices.Contains(o.Only, contender) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("experiment"), kong.Description("Measures the delay of records before, after, and with Millrace."))
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
