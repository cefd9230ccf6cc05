package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"go.temporal.io/sdk/client"

	"millrace/internal/config"
	"millrace/starter/console"
)

type consoleCommand struct {
	Listen        string        `help:"Address to serve the page at. Others may not reach it." default:"127.0.0.1:8088" env:"MILLRACE_CONSOLE_LISTEN"`
	Every         time.Duration `help:"How often to read /metrics, at most once a second. Temporal is asked every 5 s at most, the bucket every minute, and both only while a page is open." default:"${console_every}" env:"MILLRACE_CONSOLE_EVERY"`
	SourceTimeout time.Duration `help:"How long a source may take to answer." default:"${console_within}" env:"MILLRACE_CONSOLE_SOURCE_TIMEOUT"`
	Collectors    []string      `name:"collector-url" help:"Collectors whose /metrics to read (--listen-ops)." env:"MILLRACE_COLLECTOR_OPS_URL,MILLRACE_COLLECTOR_URL" placeholder:"URL,…"`
	Workers       []string      `name:"worker-url" help:"Workers whose /metrics to read (--listen)." env:"MILLRACE_WORKER_URL" placeholder:"URL,…"`
	Prometheus    string        `help:"Prometheus that scrapes them, for the history of an hour. Default: the history since the console started." env:"MILLRACE_PROMETHEUS_URL" placeholder:"URL"`
	TemporalUI    string        `name:"temporal-ui" help:"Temporal's Web UI, for links. Default: that of Temporal Cloud, or of a development server on this machine." env:"MILLRACE_TEMPORAL_UI" placeholder:"URL"`

	Repository config.RepositoryName `embed:"" group:"elasticsearch"`
}

// Help is the details of starter console --help.
func (consoleCommand) Help() string {
	return "One page shows the path of the records with live rates, delays, shards, the fallback queue, dead letters, backup, " +
		"snapshots, recoveries and drills, and what is wrong, with the command that mends it. It changes nothing."
}

// leastConsoleEvery bounds how often a process is asked for its metrics.
const leastConsoleEvery = time.Second

// Validate reports what cannot be served.
func (c consoleCommand) Validate() error {
	var errs []error
	if err := console.CheckAddress(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("--listen: %w", err))
	}
	if c.Every < leastConsoleEvery {
		errs = append(errs, fmt.Errorf("--every: %v is less than %v", c.Every, leastConsoleEvery))
	}
	if c.SourceTimeout <= 0 {
		errs = append(errs, fmt.Errorf("--source-timeout: %v is not positive", c.SourceTimeout))
	}
	for flag, addresses := range map[string][]string{
		"collector-url": c.Collectors, "worker-url": c.Workers, "prometheus": {c.Prometheus}, "temporal-ui": {c.TemporalUI},
	} {
		for _, address := range addresses {
			parsed, err := url.Parse(address)
			if address != "" && (err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https") {
				errs = append(errs, fmt.Errorf("--%s: not an http or https address", flag))
			}
		}
	}
	return errors.Join(errs...)
}

// Run serves the console until it is interrupted.
func (c consoleCommand) Run(ctx context.Context, all *commands, by who, r *config.Resources, out output, logger *slog.Logger) error {
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("listen (--listen): %w", err)
	}
	defer listener.Close()
	options, err := config.Temporal(logger)
	if err != nil {
		return err
	}
	if options.Namespace == "" {
		options.Namespace = client.DefaultNamespace
	}
	temporal, err := observer(options, by)
	if err != nil {
		return err
	}
	defer temporal.Close()
	// One that does not answer leaves time for others, within the limit of the source.
	patience := min(all.AnswerWithin, c.SourceTimeout/3)
	sources, err := c.sources(&observed{
		client: asker{temporal, patience}, names: r, namespace: options.Namespace, repository: c.Repository.Name, logger: logger, by: by, within: c.SourceTimeout,
	})
	if err != nil {
		return err
	}
	watch := console.New(console.Settings{
		Workflows: lasting(r), Stream: r.Stream, Namespace: options.Namespace, TemporalUI: temporalUI(c.TemporalUI, options.HostPort, options.Namespace),
		Every: c.Every, Within: c.SourceTimeout,
	}, sources)
	ctx, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { watch.Run(ctx); close(watched) }()
	defer func() { stop(); <-watched }()
	fmt.Fprintf(out, "The console is at http://%s, for this machine alone. Ctrl-C ends it.\n", listener.Addr())
	return console.Serve(ctx, listener, console.Handler(watch.State))
}

// lasting are the workflows that are to run all the time.
func lasting(r *config.Resources) (all []console.Workflow) {
	for _, d := range (&exam{names: r}).duties() {
		all = append(all, console.Workflow{Type: d.name, ID: d.of.id})
	}
	return all
}

func (c consoleCommand) sources(o *observed) (s console.Sources, err error) {
	for _, address := range c.Collectors {
		s.Targets = append(s.Targets, console.Target{Kind: console.Collector, URL: address})
	}
	for _, address := range c.Workers {
		s.Targets = append(s.Targets, console.Target{Kind: console.Worker, URL: address})
	}
	if c.Prometheus != "" {
		s.History, err = console.Prometheus(c.Prometheus)
	}
	s.Shards, s.Queue, s.Letters, s.Backup = o.shards, o.queue, o.letters, o.backup
	s.Snapshots, s.Recoveries, s.Residual, s.Checks = o.snapshots, o.recoveries, o.residual, o.checks
	return s, err
}

// How far the Web UI of a development server is from its port, and where that of the cloud is.
const (
	developmentUI = 1000
	cloudUI       = "https://cloud.temporal.io"
)

// temporalUI is the address of a namespace in Temporal's Web UI; empty, if it can only be guessed.
func temporalUI(address, server, namespace string) string {
	if server == "" {
		server = client.DefaultHostPort
	}
	host, port, err := net.SplitHostPort(server)
	switch number, bad := strconv.Atoi(port); {
	case address != "":
	case err != nil || bad != nil:
		return ""
	case strings.HasSuffix(host, ".tmprl.cloud"), strings.HasSuffix(host, ".api.temporal.io"):
		address = cloudUI
	case host == "localhost" || net.ParseIP(host).IsLoopback():
		address = "http://" + net.JoinHostPort(host, strconv.Itoa(number+developmentUI))
	default:
		return ""
	}
	return strings.TrimSuffix(address, "/") + "/namespaces/" + url.PathEscape(namespace)
}
