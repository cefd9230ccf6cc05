// Command find puts records everywhere that a record can be: into the index, the ledger,
// a ProcessBatch that holds it, the fallback queue. Then it asks for each one where it
// is, and for some that never were, as `starter find` does. Every answer is held
// against what is known.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type options struct {
	IDs       int `name:"ids" help:"How many ids to ask for." default:"10000"`
	Processes int `help:"How many of them to ask for with the command, too." default:"20"`
}

// fewest is how many ids there must be for each kind to have some in each shard.
const fewest = 500

// Validate reports options under which nothing would be shown.
func (o options) Validate() error {
	if o.IDs < fewest || o.Processes < 1 || o.Processes > o.IDs {
		return fmt.Errorf("--ids, --processes: %d is less than %d, or %d is not from 1 to that", o.IDs, fewest, o.Processes)
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("find"), kong.Description("Asks for records wherever they can be, and measures how long an answer takes."))
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
