// Command cmd runs the consumer that Millrace is compared with, in a process
// of its own, and answers with what it has done so far.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"golang.org/x/sync/errgroup"

	"millrace/internal/config"
	"millrace/internal/index"
	"millrace/internal/stream"
	"millrace/test/experiment/lambda"
)

type command struct {
	config.Elasticsearch
	lambda.Settings
	lambda.Improvements
	Stream string `help:"Kinesis data stream to consume." required:"" env:"MILLRACE_STREAM"`
	Listen string `help:"Address that answers GET / with what was done." required:""`
}

func main() {
	var c command
	kong.Parse(&c, kong.Description("Moves a stream into Elasticsearch as a function of AWS Lambda does."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// Validate reports settings that cannot work.
func (c command) Validate() error {
	return errors.Join(c.Elasticsearch.Validate(), c.Settings.Validate())
}

func (c command) run(ctx context.Context) error {
	cfg, err := config.AWS(ctx)
	if err != nil {
		return err
	}
	source, err := stream.Open(ctx, kinesis.NewFromConfig(cfg), c.Stream, stream.Settings{LimitPerCall: c.Limit()})
	if err != nil {
		return err
	}
	client, err := index.Open(c.Elasticsearch.Settings(cfg))
	if err != nil {
		return err
	}
	consumer := lambda.New(c.Settings, c.Improvements, source, client)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(consumer.Stats()) // An error means that the caller has gone.
	})}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return consumer.Run(ctx) })
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	return group.Wait()
}
