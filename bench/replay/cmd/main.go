// Command cmd loads the records of a benchmark and serves them as Kinesis does.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"millrace/bench/data"
	"millrace/bench/replay"
	"millrace/bench/serving"
)

type command struct {
	Records   int       `help:"Documents to serve." default:"500000"`
	Shards    int       `help:"Shards to put them in." default:"4"`
	Documents int       `help:"How many documents go into one record of the stream; more than 1: in a pack." default:"1"`
	Traced    int       `help:"One document of so many belongs to a trace; 0: none does." default:"0"`
	At        time.Time `help:"Their timestamp." required:""`
	Listen    string    `help:"Address to listen on." default:"127.0.0.1:0"`
}

func main() {
	var c command
	kong.Parse(&c, kong.Description("Serves preloaded records as Kinesis does. It prints its address when it is ready."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func (c command) run(ctx context.Context) error {
	handler, err := replay.New(data.Traced(c.Records, c.Traced, c.At), c.Shards, c.Documents)
	if err != nil {
		return err
	}
	debug.FreeOSMemory() // The records are encoded now.
	return serving.Run(ctx, c.Listen, handler)
}
