// Command tour shows what an operator sees. It starts a pipeline under a load, breaks it in five ways, and says for each
// what the console, starter, the alerts and Temporal's UI showed, with pictures. Then it runs what proves the rest: look-ups,
// a soak with kills, the commands of the documents, the cases of the alerts, and scenarios of test/faults if wanted. Its last
// line is one JSON object.
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
	Images string        `help:"Folder of the pictures." default:"docs/images" type:"path"`
	Rate   float64       `help:"Records a second of the load." default:"100"`
	Proofs bool          `help:"Run the proofs behind the five breakages, too." default:"true" negatable:""`
	IDs    int           `name:"ids" help:"How many ids the look-ups ask for." default:"10000"`
	Soak   time.Duration `help:"How long the soak lasts, with a kill every half a minute." default:"3m"`
	Faults string        `help:"Scenarios of test/faults whose alerts are judged, too: none, all (two hours), or numbers like 2,5,7." default:"none"`
}

// Validate reports options under which nothing would be shown.
func (o options) Validate() error {
	if o.Rate <= 0 {
		return errors.New("--rate must be positive: there is nothing to see without a load")
	}
	if o.Soak <= soakKills {
		return fmt.Errorf("--soak must be longer than %v, or nothing is killed in it", soakKills)
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("tour"), kong.Description("Breaks a pipeline in five ways, and shows what its operators see."))
	if err := run(ctx, o); err != nil {
		if ctx.Err() != nil {
			err = errors.New("interrupted")
		}
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
