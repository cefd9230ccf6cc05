// Command abuse shows that no tenant stops, slows or impersonates another. One
// honest tenant posts at a steady rate, first alone and then beside five hostile
// ones, who send what a careless or malicious client can: bodies that grow in
// memory, connections that say nothing, dates of fifteen years, records that
// the index refuses or that pretend to be another's, and floods.
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

	"millrace/test/hostile"
)

type options struct {
	For   time.Duration `help:"How long the hostile tenants go on." default:"10m"`
	Alone time.Duration `help:"How long the honest tenant is alone before that: its delay then is what it is compared with." default:"2m"`
	Rate  float64       `help:"Records a second of the honest tenant." default:"200"`
	Only  []string      `help:"Hostile tenants to let in, by name. Default: all." placeholder:"TENANT"`
}

// Validate reports options under which nothing would be shown.
func (o options) Validate() error {
	if o.Rate <= 0 || o.For <= 0 || o.Alone <= 0 {
		return errors.New("--for, --alone, --rate: each must be positive")
	}
	_, err := hostile.Choose(o.Only)
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	kong.Parse(&o, kong.Name("abuse"), kong.Description(describe()))
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// describe states the hostile rates, which are fixed.
func describe() string {
	text := []string{"Has one honest tenant and five hostile ones share a pipeline; the honest one may not notice. All have the default quota. The hostile ones:"}
	for _, h := range hostile.All {
		text = append(text, fmt.Sprintf("%s: %s", h.Name, h.Does))
	}
	return strings.Join(text, "\n\n")
}
