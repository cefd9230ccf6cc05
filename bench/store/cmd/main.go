// Command cmd serves an S3 that keeps objects in memory.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"millrace/bench/serving"
	"millrace/bench/store"
)

type command struct {
	Listen string `help:"Address to listen on." default:"127.0.0.1:0"`
}

func main() {
	var c command
	kong.Parse(&c, kong.Description("Serves an S3 that keeps objects in memory. It prints its address when it is ready."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serving.Run(ctx, c.Listen, store.New()); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
