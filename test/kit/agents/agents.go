// Package agents runs real agents, as users have them, against a collector:
// a Python function under the thundra agent, and telemetrygen of the
// OpenTelemetry project. They are installed once into the clone's ignored
// folder.
package agents

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"millrace/deploy/local"
)

// thundraVersion is on PyPI. That of telemetrygen stands in its go.mod.
const thundraVersion = "3.0.10"

// ThundraRecords is how many records one invocation makes: the invocation,
// a span of the function, a span of the call in it, and a line of its log.
const ThundraRecords = 4

// Agents are installed.
type Agents struct {
	packages, interpreter string // of the thundra agent
	telemetrygen          string
}

// Install downloads and builds what is missing. progress gets progress
// lines; it may be nil.
func Install(ctx context.Context, root string, progress io.Writer) (*Agents, error) {
	a := &Agents{telemetrygen: filepath.Join(root, ".local", "bin", "telemetrygen")}
	var err error
	a.packages, a.interpreter, err = local.InstallPython(ctx, root, progress, "thundra", thundraVersion, "thundra=="+thundraVersion)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(a.telemetrygen); err != nil && progress != nil {
		fmt.Fprintf(progress, "%-14s building (once)\n", "telemetrygen")
	}
	return a, local.BuildTool(ctx, filepath.Join(root, "test", "kit", "agents", "telemetrygen"), local.Program{
		Path: a.telemetrygen, Source: "github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen",
	})
}

// lastLines keeps what fits a message.
func lastLines(text string) string {
	const size = 4 << 10
	return text[max(0, len(text)-size):]
}

//go:embed function.py
var function string

// Thundra invokes a Python function under the thundra agent, with traces and
// logs enabled. base is the collector's address, key a tenant's.
func (a *Agents) Thundra(ctx context.Context, base, key string, invocations int) error {
	cmd := exec.CommandContext(ctx, a.interpreter, "-c", function, strconv.Itoa(invocations))
	cmd.Env = append(os.Environ(),
		"PYTHONPATH="+a.packages, "PYTHONDONTWRITEBYTECODE=1",
		"CATCHPOINT_LOG_DISABLE=false", "CATCHPOINT_APIKEY="+key, "CATCHPOINT_REPORT_REST_BASEURL="+base+"/v1",
		"AWS_LAMBDA_FUNCTION_NAME=orders", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=512", "AWS_LAMBDA_FUNCTION_VERSION=1",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/orders", "AWS_LAMBDA_LOG_STREAM_NAME=1", "AWS_REGION=eu-west-1",
		"NO_PROXY=*",
	)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w\n%s", filepath.Base(cmd.Path), err, lastLines(output.String()))
	}
	return nil
}

// Signal is a kind of OpenTelemetry data.
type Signal string

// The signals, named as telemetrygen names them.
const (
	Traces  Signal = "traces"
	Logs    Signal = "logs"
	Metrics Signal = "metrics"
)

// OTLP is what telemetrygen sends.
type OTLP struct {
	Signal  Signal
	HTTP    bool   // or gRPC
	Address string // host and port
	Key     string // a tenant's
	Service string // stands in every record
	Count   int    // of traces, logs or metrics; a trace is two spans
}

// Records is how many records are sent.
func (o OTLP) Records() int {
	if o.Signal == Traces {
		return 2 * o.Count
	}
	return o.Count
}

// OTLP sends telemetry of one signal.
func (a *Agents) OTLP(ctx context.Context, o OTLP) error {
	args := []string{
		string(o.Signal), "--otlp-endpoint", o.Address, "--otlp-insecure", "--rate", "0",
		"--otlp-header", fmt.Sprintf("x-api-key=%q", o.Key), "--" + string(o.Signal), strconv.Itoa(o.Count),
		"--otlp-attributes", fmt.Sprintf("service.name=%q", o.Service),
	}
	if o.HTTP {
		args = append(args, "--otlp-http")
	}
	if o.Signal == Traces {
		args = append(args, "--service", o.Service)
	}
	cmd := exec.CommandContext(ctx, a.telemetrygen, args...)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run telemetrygen %s: %w\n%s", o.Signal, err, lastLines(output.String()))
	}
	// A tracer whose export failed ends with status 0.
	if text := output.String(); strings.Contains(text, "failed to") || strings.Contains(text, " export: ") {
		return errors.New("telemetrygen could not send everything:\n" + lastLines(output.String()))
	}
	return nil
}
