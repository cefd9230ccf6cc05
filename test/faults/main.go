// Command faults breaks servers, connections and processes under a load, one
// scenario after the other, and then looks for every record that a 2xx
// answered: each must be indexed once, or in the ledger if it is bad.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type options struct {
	Only    []string `help:"Scenarios to run, by number or name. Default: all." placeholder:"SCENARIO"`
	Records uint64   `help:"Records of each scenario." default:"12000"`
	Rate    float64  `help:"Records a second." default:"600"`
}

// Validate reports options under which nothing would be shown.
func (o options) Validate() error {
	if o.Rate <= 0 || o.Records < 1000 {
		return errors.New("--rate must be positive, --records at least 1000: faults need a load to happen to")
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
