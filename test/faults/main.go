// Command faults breaks servers, connections and processes under a load, one
// scenario after the other, and then looks for every record that a 2xx
// answered: each must be indexed once, or, if it is bad, in the ledger with its
// error and reported in the dead-letter queue.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Only     []string      `help:"Scenarios to run, by number or name; of --mutants, by name. Default: all." placeholder:"SCENARIO"`
	Records  uint64        `help:"Records of each scenario." default:"5000"`
	Rate     float64       `help:"Records a second, at the most: a load lasts longer than its fault." default:"600"`
	Outage   time.Duration `help:"How long faults last that are about time. Default: what each scenario promises, 10 seconds to 2 minutes."`
	Patience time.Duration `help:"How long records may take to arrive after a fault." default:"3m"`
	Alerts   bool          `help:"Let a real Prometheus watch each scenario, to which a second is a minute: only alerts that the fault explains may fire." default:"true" negatable:""`
	Form     string        `help:"Form in which records are put into the stream." enum:"single,kpl,pack" default:"pack"`
	Watch    bool          `help:"Print every second how the worker adapts."`
	Mutants  bool          `help:"Break the pipeline's own code instead, one mutant after the other: each must be noticed."`
	Mix      time.Duration `help:"Instead of scenarios, mix faults at random for so long." placeholder:"TIME"`
	Seed     uint64        `help:"Seed of --mix. Default: one that is printed."`
}

// Validate reports options under which nothing would be shown.
func (o options) Validate() error {
	if o.Rate <= 0 || o.Records < 1000 {
		return errors.New("--rate must be positive, --records at least 1000: faults need a load to happen to")
	}
	if o.Outage < 0 || o.Patience <= 0 || o.Mix < 0 {
		return errors.New("--outage, --patience, --mix: a time is negative")
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("faults"), kong.Description("Breaks everything around the pipeline, and the pipeline; nothing may be lost."))
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
