// Command demo runs the whole pipeline on this machine: its servers, a
// collector and a worker as a user would deploy them, and real agents that
// post telemetry, some of it bad, while the stream throttles for some time. It
// says what became of every record, by what senders kept and stores hold.
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
	Once    bool    `help:"End when every record has arrived, with status 0 only if none is missing."`
	Records uint64  `help:"Records of the load generator." default:"12000"`
	Rate    float64 `help:"Records a second of the load generator." default:"1000"`
}

// Validate reports a load under which the demo would show nothing.
func (o options) Validate() error {
	if o.Rate <= 0 || float64(o.Records) < o.Rate*(throttleAfter+throttleFor).Seconds() {
		return fmt.Errorf("--records, --rate: the load must last longer than %v, or it ends before the stream has throttled", throttleAfter+throttleFor)
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("demo"), kong.Description("Runs the whole pipeline on this machine, with real agents."))
	if err := run(ctx, o); err != nil {
		if ctx.Err() != nil { // what was under way has failed for that
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
