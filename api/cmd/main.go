// Command cmd is the collector: it takes telemetry from agents and answers
// when it is durable.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

const description = `Takes telemetry from agents over HTTP and gRPC, and answers them when it is durable.

AWS is configured by its own environment and files (AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL, …), and so is Temporal
(TEMPORAL_ADDRESS, TEMPORAL_NAMESPACE, TEMPORAL_TLS, TEMPORAL_API_KEY, …). Stream, queues and bucket are made by
"starter setup", and the first API key by "collector keys create --tenant NAME".`

type commands struct {
	Serve serveCommand `cmd:"" default:"withargs" help:"Accept telemetry until interrupted."`
	Keys  keysCommands `cmd:"" help:"Create, list and revoke API keys."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	parsed := kong.Parse(&commands{}, append(options(), kong.BindTo(ctx, (*context.Context)(nil)))...)
	if err := parsed.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}

// options are how the command line is read and explained.
func options() []kong.Option {
	return []kong.Option{kong.Name("collector"), kong.Description(description), kong.ExplicitGroups([]kong.Group{
		{Key: "aws", Title: "AWS"}, {Key: "durable", Title: "Making batches durable"},
		{Key: "limits", Title: "Limits"}, {Key: "tracing", Title: "Tracing"}, {Key: "versioning", Title: "Versioning"}, {Key: "logging", Title: "Logging"},
	})}
}
