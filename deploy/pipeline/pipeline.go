package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"millrace/api"
	"millrace/deploy/local"
	"millrace/internal/config"
)

// The usual ports of the collector (HTTP, gRPC, operators), of a worker, and of the console.
const (
	collectorPort = 8080
	grpcPort      = 4317
	opsPort       = 9091
	workerPort    = 9090
	consolePort   = 8088
)

// readyWithin bounds the time from a program's start to its first 200 at
// /readyz.
const readyWithin = 4 * time.Minute

// Settings say what a Pipeline consists of.
type Settings struct {
	Programs Programs
	// Servers is the environment that says where the servers are, as
	// KEY=VALUE: what local.Stack.Env returns, or the like.
	Servers []string
	// Resources names what is used in AWS. Empty names are the defaults.
	Resources config.Resources
	// Shards of the stream. Default: 4.
	Shards int
	// Form in which records are put into the stream. Default: that of setup.
	Form string
	// Dir holds the API keys and the logs. It must exist.
	Dir string
	// UsualPorts prefers the ports that people know.
	UsualPorts bool
}

// Pipeline is a set of our own processes on this machine.
type Pipeline struct {
	settings Settings
	env      []string
	running  []*Program
}

// withoutQuotas lets one tenant send as much as the collector takes: loads here
// measure that, and are not shared with others. A collector may be started with
// other values.
var withoutQuotas = []string{"MILLRACE_LIMIT_RATE=0", "MILLRACE_LIMIT_BYTES_RATE=0"}

// DefaultQuotas keeps the tenants of a collector within the quotas that it has by
// default: see StartCollector.
var DefaultQuotas = []string{
	fmt.Sprintf("MILLRACE_LIMIT_RATE=%d", api.DefaultTenantRate), fmt.Sprintf("MILLRACE_LIMIT_BYTES_RATE=%d", api.DefaultTenantBytes),
}

// New makes a pipeline of which nothing runs yet.
func New(s Settings) *Pipeline {
	if s.Shards == 0 {
		s.Shards = 4
	}
	p := &Pipeline{settings: s, env: local.Environ(s.Servers)}
	for name, value := range map[string]string{
		"STREAM": s.Resources.Stream, "QUEUE": s.Resources.Queue, "DLQ": s.Resources.DeadLetters, "BUCKET": s.Resources.Bucket,
	} {
		if value != "" {
			p.env = append(p.env, "MILLRACE_"+name+"="+value)
		}
	}
	p.env = append(p.env, "MILLRACE_LOG_FORMAT=text")
	p.env = append(p.env, withoutQuotas...)
	return p
}

// Setup makes stream, queues, bucket, templates and search attributes, for a
// single node of Elasticsearch.
func (p *Pipeline) Setup(ctx context.Context) error {
	args := []string{"setup", "--shards", strconv.Itoa(p.settings.Shards), "--replicas", "0"}
	if p.settings.Form != "" {
		args = append(args, "--form", p.settings.Form)
	}
	_, err := p.Starter(ctx, args...)
	return err
}

// StartWorkflows starts processing and redriving.
func (p *Pipeline) StartWorkflows(ctx context.Context) error {
	for _, what := range []string{"process", "redrive"} {
		if _, err := p.Starter(ctx, what, "start"); err != nil {
			return err
		}
	}
	return nil
}

// StartBackup starts the backup of the stream.
func (p *Pipeline) StartBackup(ctx context.Context) error {
	_, err := p.Starter(ctx, "backup", "start")
	return err
}

// AwaitShards waits until every shard is being processed.
func (p *Pipeline) AwaitShards(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		out, err := p.Starter(ctx, "shards", "--json")
		if err != nil {
			return err
		}
		var shards []struct{ State string }
		if err := json.Unmarshal([]byte(out), &shards); err != nil {
			return fmt.Errorf("read the state of the shards: %w", err)
		}
		running := 0
		for _, shard := range shards {
			if shard.State == "running" {
				running++
			}
		}
		if running >= p.settings.Shards {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until the shards are processed: %d of %d are: %w", running, p.settings.Shards, context.Cause(ctx))
		}
	}
}

// Starter runs the operator's command and returns what it prints.
func (p *Pipeline) Starter(ctx context.Context, args ...string) (string, error) {
	return p.run(ctx, p.settings.Programs.Starter, args...)
}

// CreateKey makes a new API key of a tenant.
func (p *Pipeline) CreateKey(ctx context.Context, tenant string) (string, error) {
	out, err := p.run(ctx, p.settings.Programs.Collector, "keys", "create", "--keys", p.Keys(), "--tenant", tenant)
	return strings.TrimSpace(out), err
}

// CanaryOf makes a key of the canary, and returns the environment with which a worker
// posts the canary to a collector.
func (p *Pipeline) CanaryOf(ctx context.Context, collector *Program) ([]string, error) {
	out, err := p.run(ctx, p.settings.Programs.Collector, "keys", "create", "--keys", p.Keys(), "--canary")
	return []string{"MILLRACE_CANARY_URLS=" + local.Region + "=" + collector.URL, "MILLRACE_CANARY_KEY=" + strings.TrimSpace(out)}, err
}

// StartCanary runs the canary every so often.
func (p *Pipeline) StartCanary(ctx context.Context, every time.Duration) error {
	_, err := p.Starter(ctx, "canary", "schedule", "--every", every.String())
	return err
}

// Keys is the file of the API keys.
func (p *Pipeline) Keys() string { return filepath.Join(p.settings.Dir, "keys.json") }

func (p *Pipeline) run(ctx context.Context, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = p.env
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", fmt.Errorf("run %s %s: %w\n%s%s", filepath.Base(program), strings.Join(args[:min(2, len(args))], " "), err, out.Bytes(), problems.Bytes())
	}
	return out.String(), nil
}

// Program is a collector or a worker.
type Program struct {
	*Process
	URL  string // of its HTTP server
	GRPC string // host and port; of a collector
	Ops  string // URL of the server for operators; of a worker, the same as URL

	command Command
	ready   string // path that answers 200 once it is; default: /readyz
}

// StartCollector starts a collector and waits until it is ready. more is
// environment of this process alone.
func (p *Pipeline) StartCollector(ctx context.Context, more ...string) (*Program, error) {
	ports, err := local.ChoosePorts(p.settings.UsualPorts, collectorPort, grpcPort, opsPort)
	if err != nil {
		return nil, fmt.Errorf("choose ports for the collector: %w", err)
	}
	address, grpc, ops := loopback(ports[0]), loopback(ports[1]), loopback(ports[2])
	return p.start(ctx, &Program{
		URL: "http://" + address, GRPC: grpc, Ops: "http://" + ops,
		command: Command{
			Name: "collector", Program: p.settings.Programs.Collector,
			Args: []string{"serve", "--listen", address, "--listen-grpc", grpc, "--keys", p.Keys()},
			// No flag, which a collector of an earlier version would refuse.
			Env: append([]string{"MILLRACE_LISTEN_OPS=" + ops}, more...),
		},
	})
}

// StartWorker starts one more worker and waits until it is ready. more is
// environment of this process alone.
func (p *Pipeline) StartWorker(ctx context.Context, more ...string) (*Program, error) {
	ports, err := local.ChoosePorts(p.settings.UsualPorts, workerPort)
	if err != nil {
		return nil, fmt.Errorf("choose a port for the worker: %w", err)
	}
	address := loopback(ports[0])
	return p.start(ctx, &Program{
		URL: "http://" + address, Ops: "http://" + address,
		command: Command{
			Name: "worker", Program: p.settings.Programs.Worker,
			Args: []string{"--listen", address},
			Env:  more,
		},
	})
}

// StartConsole starts the operators' page of a collector and a worker, and waits until it is served. It looks every second.
// more are flags.
func (p *Pipeline) StartConsole(ctx context.Context, collector, worker *Program, more ...string) (*Program, error) {
	ports, err := local.ChoosePorts(p.settings.UsualPorts, consolePort)
	if err != nil {
		return nil, fmt.Errorf("choose a port for the console: %w", err)
	}
	address := loopback(ports[0])
	return p.start(ctx, &Program{
		URL: "http://" + address, ready: "/",
		command: Command{
			Name: "console", Program: p.settings.Programs.Starter,
			Args: append([]string{"console", "--listen", address, "--every", "1s", "--collector-url", collector.Ops, "--worker-url", worker.Ops}, more...),
		},
	})
}

func loopback(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

func (p *Pipeline) start(ctx context.Context, program *Program) (*Program, error) {
	c := &program.command
	c.Env = slices.Concat(p.env, c.Env)
	name := c.Name
	for n := 2; slices.ContainsFunc(p.running, func(other *Program) bool { return other.Name == c.Name }); n++ {
		c.Name = name + "-" + strconv.Itoa(n)
	}
	c.Log = filepath.Join(p.settings.Dir, c.Name+".log")
	if err := program.launch(ctx); err != nil {
		return nil, err
	}
	p.running = append(p.running, program)
	return program, nil
}

func (p *Program) launch(ctx context.Context) error {
	process, err := Start(p.command)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if err := process.AwaitReady(ctx, p.URL+cmp.Or(p.ready, "/readyz")); err != nil {
		process.Kill()
		return err
	}
	p.Process = process
	return nil
}

// Restart starts a program again that has ended, as it was, and waits until
// it is ready.
func (p *Program) Restart(ctx context.Context) error { return p.launch(ctx) }

// Deploy starts another executable in the place of a program that has ended, with its address and settings, and returns
// the path of the one before.
func (p *Program) Deploy(ctx context.Context, path string) (before string, err error) {
	before, p.command.Program = p.command.Program, path
	return before, p.launch(ctx)
}

// Running returns the programs that were started, in order.
func (p *Pipeline) Running() []*Program { return slices.Clone(p.running) }

// Stop ends what runs, in order: collectors first, so that nothing comes in
// while the rest ends.
func (p *Pipeline) Stop() error {
	var errs []error
	for _, collector := range []bool{true, false} {
		for _, program := range slices.Backward(p.running) {
			if (program.GRPC != "") == collector {
				errs = append(errs, program.Stop())
			}
		}
	}
	p.running = nil
	return errors.Join(errs...)
}
