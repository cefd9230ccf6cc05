// Command soak keeps a steady load on the pipeline and kills the worker, as
// kill -9 does, again and again. At the end every record that was accepted
// must be indexed, and no document there twice. Meanwhile each record of the backup
// that processing has passed must be somewhere: the residual is zero.
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
	For        time.Duration `help:"How long the load lasts." default:"10m"`
	Every      time.Duration `help:"Time from one kill of the worker to the next." default:"1m"`
	AuditEvery time.Duration `help:"Time from one audit of the whole backup to the next." default:"30s"`
	Rate       float64       `help:"Records a second." default:"500"`
	Duplicates float64       `help:"Share of records that are posted a second time." default:"0.02"`
	Form       string        `help:"Form in which records are put into the stream." enum:"single,kpl,pack" default:"pack"`
}

// Validate reports options under which nothing would be shown.
func (o options) Validate() error {
	if o.Rate <= 0 || o.Every <= 0 || o.AuditEvery <= 0 || o.For <= o.Every {
		return errors.New("--for, --every, --audit-every, --rate: there must be a load, and a kill and an audit in it")
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("soak"), kong.Description("Kills the worker again and again under a steady load; nothing may be lost."))
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
