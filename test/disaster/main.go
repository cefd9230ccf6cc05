// Command disaster rehearses disasters: it deletes the indices of a running
// pipeline under load and recovers them as an operator would, with real
// processes. In the end each id that was answered 2xx, before, during or after,
// must exist once, or be in the ledger if its record is bad.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Only     []string      `help:"Scenarios to run, by name: ${scenarios}. Default: all." placeholder:"NAME"`
	Records  uint64        `help:"Records of the disaster, beside the live load: half of them are in its snapshot. Other scenarios have a tenth." default:"60000"`
	Rate     float64       `help:"Records a second of the live load." default:"200"`
	Steady   time.Duration `help:"How long the live load is watched before the disaster, and after the recovery." default:"30s"`
	Limit    float64       `help:"Records a second of the backfill; 0: as many as live traffic does not feel, and the disaster fails if it does." default:"0"`
	Patience time.Duration `help:"How long a recovery may stand still, and records may take to arrive after it." default:"2m"`
}

// Validate reports options under which nothing would be shown.
func (o options) Validate() error {
	if o.Rate <= 0 || o.Steady < time.Second || o.Records < leastRecords {
		return fmt.Errorf("--rate, --steady, --records: there must be a load, for a second at least, and a disaster that takes %d records", leastRecords)
	}
	if o.Limit < 0 || o.Patience <= 0 {
		return errors.New("--limit, --patience: a number is negative")
	}
	_, err := choose(o.Only)
	return err
}

// leastRecords take long enough that something can happen meanwhile.
const leastRecords = 1000

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("disaster"), kong.Description("Takes the indices away under a load and has them recovered; nothing may be missing."),
		kong.Vars{"scenarios": strings.Join(names(), ", ")})
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
