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
	"time"

	"github.com/alecthomas/kong"
)

type options struct {
	Once    bool    `help:"End when every record has arrived, with status 0 only if none is missing."`
	Records uint64  `help:"Records of the load generator." default:"11500"`
	Rate    float64 `help:"Records a second of the load generator." default:"500"`

	Observe bool `help:"Run a real Prometheus beside it, with the rules of deploy/observability."`

	WarmUp time.Duration `help:"How long the load warms the servers up before delays count: Elasticsearch makes its first indices, and servers compile." default:"15s"`
}

// Validate reports a load under which the demo would show nothing.
func (o options) Validate() error {
	if o.WarmUp < 0 {
		return fmt.Errorf("--warm-up: %v is negative", o.WarmUp)
	}
	if least := o.WarmUp + throttleAfter + throttleFor; o.Rate <= 0 || float64(o.Records) < o.Rate*least.Seconds() {
		return fmt.Errorf("--records, --rate, --warm-up: the load must last longer than %v, or it ends before the stream has throttled", least)
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
