package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.temporal.io/sdk/worker"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	activity "millrace/activities/ingest"
	"millrace/api"
	"millrace/api/batching"
	"millrace/internal/config"
	"millrace/internal/ops"
	"millrace/internal/stream"
	"millrace/internal/tracing"
	"millrace/workers"
	"millrace/workflows/launch"
)

type serveCommand struct {
	Listen     string `help:"Address for HTTP: telemetry, /healthz, and /readyz without details. 0.2 is the last version that serves /metrics here, too (deprecated): see --listen-ops." default:"127.0.0.1:8080" env:"MILLRACE_LISTEN"`
	ListenGRPC string `name:"listen-grpc" help:"Address for OTLP over gRPC; empty: none." default:"127.0.0.1:4317" env:"MILLRACE_LISTEN_GRPC"`
	ListenOps  string `help:"Address for operators, without TLS: /healthz, /readyz with details, and /metrics; empty: none." default:"127.0.0.1:9091" env:"MILLRACE_LISTEN_OPS"`
	TLSCert    string `name:"tls-cert" help:"PEM file of the certificate for agents, at --listen and --listen-grpc." type:"existingfile" env:"MILLRACE_TLS_CERT"`
	TLSKey     string `name:"tls-key" help:"PEM file of the certificate's key." type:"existingfile" env:"MILLRACE_TLS_KEY"`
	Region     string `help:"Region to write into each record; empty: AWS's." env:"MILLRACE_REGION"`

	CORSOrigins api.Origins `name:"cors-origins" help:"Origins of web pages that may post (CORS), such as https://shop.example, or * for all; empty: none." env:"MILLRACE_CORS_ORIGINS"`

	keyFile
	api.Limits        `embed:"" group:"limits"`
	batching.Settings `embed:"" group:"durable"`
	config.Resources  `embed:"" group:"aws"`
	PutConcurrency    int              `name:"stream-puts" help:"Maximum PutRecords calls in flight for one batch." default:"4" group:"aws" env:"MILLRACE_STREAM_PUTS"`
	Tracing           tracing.Settings `embed:"" group:"tracing"`
	config.Versioning `embed:"" group:"versioning"`
	config.Logging    `embed:"" group:"logging"`
}

// Validate reports settings that cannot work together.
func (c *serveCommand) Validate() error {
	var errs []error
	if (c.TLSCert == "") != (c.TLSKey == "") {
		errs = append(errs, errors.New("--tls-cert and --tls-key: give both, or none"))
	}
	return errors.Join(append(errs, c.CORSOrigins.Validate(), c.Limits.Validate(), c.Settings.Validate(), c.Resources.Validate(), c.Tracing.Validate())...)
}

// stopWithin bounds in time what requests that are under way may still take.
const stopWithin = 20 * time.Second

// Run takes telemetry until ctx ends, and then shuts down in reverse order: what
// was answered 202 is durable by then.
func (c *serveCommand) Run(ctx context.Context) error {
	logger := c.Logger()
	c.LimitMemory()
	cfg, err := config.AWS(ctx)
	if err != nil {
		return err
	}
	if c.Region == "" {
		c.Region = cfg.Region
	}
	keys, err := api.OpenKeys(c.Keys)
	if err != nil {
		return err
	}
	secured, err := c.tls()
	if err != nil {
		return err
	}
	tracer, err := tracing.New(ctx, c.Tracing, "collector")
	if err != nil {
		return err
	}
	defer tracer.Close()
	lazily, err := config.DialLazily(logger, c.Versioning, tracer.Interceptors()...)
	if err != nil {
		return err
	}
	defer lazily.Close()
	temporal := config.NewConnecting(lazily)

	backends := workers.NewBackends(cfg, c.Resources, stream.Settings{PutConcurrency: c.PutConcurrency})
	checks := c.checks(cfg, backends, temporal)
	stopOps, err := c.serveOps(checks)
	if err != nil {
		return err
	}
	defer stopOps()
	launcher := launch.Launcher{Client: temporal}
	batcher := batching.New(c.Settings, launcher, backends.Intake)
	server := api.New(api.Settings{Region: c.Region, Limits: c.Limits, Origins: c.CORSOrigins, Tracer: tracer}, keys, batcher)
	stopServing, err := c.serve(server, c.routes(server, checks), secured)
	if err != nil {
		batcher.Close()
		return err
	}
	stopWorker := c.work(ctx, temporal, launcher, backends)
	var finding sync.WaitGroup
	finding.Go(func() { c.find(ctx, backends) })
	slog.Info("taking telemetry", "http", c.Listen, "grpc", c.ListenGRPC, "ops", c.ListenOps, "stream", c.Stream, "ingest", c.Mode,
		"collector", server.Collector())

	<-ctx.Done()
	slog.Info("stopping: what is under way is finished")
	stopServing()
	finding.Wait()
	batcher.Close()
	stopWorker()
	return nil
}

// find looks for the stream until it is there. Meanwhile records are durable in
// a workflow or in the queue: a collector that starts in an outage must not make
// it a larger one.
func (c *serveCommand) find(ctx context.Context, backends *workers.Backends) {
	if err := workers.RetryUntilDone(ctx, "find the stream", "make it with starter setup, and see that the credentials allow it", backends.FindStream); err == nil {
		slog.Info("found the stream", "stream", c.Stream)
	}
}

// checks are what a collector depends on: one of those that make a record
// durable is enough.
func (c *serveCommand) checks(cfg aws.Config, backends *workers.Backends, temporal *config.Connecting) ops.Checks {
	inAWS := workers.Checks(cfg, c.Resources)
	checks := ops.Checks{
		OneOf:    map[string]ops.Check{workers.Kinesis: backends.CheckStream(inAWS[workers.Kinesis]), workers.SQS: inAWS[workers.SQS]},
		Optional: map[string]ops.Check{workers.S3: inAWS[workers.S3]},
	}
	if c.Mode != batching.Direct {
		checks.OneOf[workers.Temporal] = func(ctx context.Context) error { return config.CheckTemporal(ctx, temporal) }
	}
	return checks
}

// routes are those for agents, and what a load balancer asks. No http.ServeMux
// leads to the former: it would redirect some of their paths.
func (c *serveCommand) routes(server *api.Server, checks ops.Checks) http.Handler {
	probes, operators, agents := ops.Probes(checks), ops.Handler(checks), server.Handler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz", "/readyz":
			probes.ServeHTTP(w, r)
		case "/metrics": // deprecated: 0.2 is the last version with it
			operators.ServeHTTP(w, r)
		default:
			agents.ServeHTTP(w, r)
		}
	})
}

// work runs the worker for the ingest queue in this process, so that a batch
// begins in the round trip that starts it, and starts Reconcile, which has no
// need of processing. While Temporal is away, it waits.
func (c *serveCommand) work(ctx context.Context, temporal *config.Connecting, launcher launch.Launcher, b *workers.Backends) (stop func()) {
	if c.Mode == batching.Direct {
		return func() {}
	}
	ingester := &activity.Ingester{Intake: b.Intake, Batches: launcher, DeadLetters: b.DeadLetters}
	stopped := make(chan func(), 1)
	go func() {
		stop, err := c.startWorker(ctx, temporal, ingester)
		if err != nil { // asked to end before Temporal was there
			stop = func() {}
		} else {
			_ = workers.RetryUntilDone(ctx, "start Reconcile", "see whether Temporal works", launcher.StartReconcile)
		}
		stopped <- stop
	}()
	return func() { (<-stopped)() }
}

func (c *serveCommand) startWorker(ctx context.Context, temporal *config.Connecting, ingester *activity.Ingester) (stop func(), err error) {
	if err := workers.RetryUntilDone(ctx, "reach Temporal", "set TEMPORAL_ADDRESS, or start Temporal", temporal.Connect); err != nil {
		return nil, err
	}
	return workers.Start(ctx, map[string]func() worker.Worker{
		"ingest": func() worker.Worker { return workers.Ingest(temporal.Client, ingester) },
	})
}

// serveOps serves operators until stop is called, if there is an address for them.
func (c *serveCommand) serveOps(checks ops.Checks) (stop func(), err error) {
	if c.ListenOps == "" {
		return func() {}, nil
	}
	stop, err = ops.Serve(c.ListenOps, ops.Handler(checks))
	if err != nil {
		return nil, fmt.Errorf("--listen-ops: %w", err)
	}
	return stop, nil
}

// serve serves HTTP and gRPC until stop is called, which lets requests that are
// under way come to their end.
func (c *serveCommand) serve(server *api.Server, routes http.Handler, secured *tls.Config) (stop func(), err error) {
	stopHTTP, err := c.serveHTTP(server, routes, secured)
	if err != nil || c.ListenGRPC == "" {
		return stopHTTP, err
	}
	stopGRPC, err := c.serveGRPC(server, secured)
	if err != nil {
		stopHTTP()
		return nil, err
	}
	return sync.OnceFunc(func() {
		var stopping sync.WaitGroup
		stopping.Go(stopHTTP)
		stopping.Go(stopGRPC)
		stopping.Wait()
	}), nil
}

func (c *serveCommand) serveHTTP(server *api.Server, routes http.Handler, secured *tls.Config) (stop func(), err error) {
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for HTTP: %w", err)
	}
	listener = c.Limits.Listen(listener)
	if secured != nil {
		listener = tls.NewListener(listener, secured)
	}
	overHTTP := server.HTTP(routes)
	go func() {
		if err := overHTTP.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			slog.Error("no longer serving HTTP", "error", err)
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		if err := overHTTP.Shutdown(ctx); err != nil {
			slog.Warn("some requests did not come to their end", "error", err)
		}
	}, nil
}

func (c *serveCommand) serveGRPC(server *api.Server, secured *tls.Config) (stop func(), err error) {
	listener, err := net.Listen("tcp", c.ListenGRPC)
	if err != nil {
		return nil, fmt.Errorf("listen for gRPC: %w", err)
	}
	listener = c.Limits.Listen(listener)
	var options []grpc.ServerOption
	if secured != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(secured)))
	}
	overGRPC := server.GRPC(options...)
	go func() {
		if err := overGRPC.Serve(listener); err != nil {
			slog.Error("no longer serving gRPC", "error", err)
		}
	}()
	return func() {
		late := time.AfterFunc(stopWithin, overGRPC.Stop)
		defer late.Stop()
		overGRPC.GracefulStop()
	}, nil
}

func (c *serveCommand) tls() (*tls.Config, error) {
	if c.TLSCert == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("load the certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, nil
}
