// Package localtest gives tests the real servers of a running stack, which all of them share. A test keeps to itself
// by the names of what it makes: see Name and TemporalNamespace.
package localtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"millrace/deploy/local"
	"millrace/internal/heartbeat"
)

const howToRun = "run `./task test`, or keep `./task stack` running beside `go test`"

// Elasticsearch returns the address of Elasticsearch.
func Elasticsearch(t testing.TB) string {
	t.Helper()
	return service(t, local.Elasticsearch).URL
}

// OpenSearch returns the address of OpenSearch.
func OpenSearch(t testing.TB) string {
	t.Helper()
	return service(t, local.OpenSearch).URL
}

// SnapshotDir returns the folder below which repositories of type fs may lie, for local.Elasticsearch or
// local.OpenSearch.
func SnapshotDir(t testing.TB, name string) string {
	t.Helper()
	return service(t, name).SnapshotDir
}

// AWS returns the configuration for Kinesis, SQS, S3, Athena and Glue. Clients of S3 must set UsePathStyle.
func AWS(t testing.TB) aws.Config {
	t.Helper()
	return local.AWSConfig(service(t, local.AWS).URL)
}

// Kinesalite returns the configuration for a Kinesis that reshards, and keeps its records through a kill.
func Kinesalite(t testing.TB) aws.Config {
	t.Helper()
	return local.AWSConfig(service(t, local.Kinesalite).URL)
}

// Temporal returns the options of a client for Temporal's default namespace.
func Temporal(t testing.TB) client.Options {
	t.Helper()
	return client.Options{
		HostPort:  service(t, local.Temporal).Address,
		Namespace: client.DefaultNamespace,
		// As config.Temporal has it.
		ConnectionOptions: client.ConnectionOptions{GrpcCompression: &client.GrpcCompressionNone{}},
		Logger:            log.NewStructuredLogger(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))),
	}
}

// TemporalUI is the address of Temporal's Web UI.
func TemporalUI(t testing.TB) string {
	t.Helper()
	return service(t, local.Temporal).URL
}

// TemporalCLI is the path of Temporal's command line tool.
func TemporalCLI(t testing.TB) string {
	t.Helper()
	return filepath.Join(service(t, local.Temporal).Program, "bin", "temporal")
}

// namespaceKnown bounds the time until a new namespace can be used: seconds, unless
// the machine is busy.
const namespaceKnown = 5 * time.Minute

// TemporalNamespace returns the options of a client for a new namespace, for tests whose workflow ids or task queues
// are fixed. The search attributes are of type keyword.
func TemporalNamespace(t testing.TB, searchAttributes ...string) client.Options {
	t.Helper()
	options := Temporal(t)
	options.Namespace = Name(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), namespaceKnown)
	defer cancel()
	dialed := TemporalClient(t, options)
	_, err := dialed.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace:                        options.Namespace,
		WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour),
	})
	if err != nil {
		t.Fatalf("register a namespace: %v", err)
	}
	// The servers' caches learn of it a little later.
	await(ctx, t, "the namespace to be known", func() error {
		_, err := dialed.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: options.Namespace})
		return err
	})
	if len(searchAttributes) == 0 {
		return options
	}
	types := map[string]enums.IndexedValueType{}
	for _, name := range searchAttributes {
		types[name] = enums.INDEXED_VALUE_TYPE_KEYWORD
	}
	_, err = dialed.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace: options.Namespace, SearchAttributes: types,
	})
	if err != nil {
		t.Fatalf("add search attributes: %v", err)
	}
	await(ctx, t, "the search attributes to be known", func() error {
		for _, name := range searchAttributes {
			_, err := dialed.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{
				Namespace: options.Namespace, Query: fmt.Sprintf("`%s` IS NULL", name),
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return options
}

// TemporalClient connects, and disconnects when the test ends.
func TemporalClient(t testing.TB, options client.Options) client.Client {
	t.Helper()
	options.ConnectionOptions.DialOptions = append(options.ConnectionOptions.DialOptions, heartbeat.Patient())
	dialed, err := client.DialContext(t.Context(), options)
	if err != nil {
		t.Fatalf("connect to Temporal: %v", err)
	}
	t.Cleanup(dialed.Close)
	return dialed
}

// Client returns a client of the test's own for servers beside it: see local.Client.
func Client(t testing.TB) *http.Client {
	t.Helper()
	c := local.NewClient()
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// await polls until a condition holds.
func await(ctx context.Context, t testing.TB, what string, condition func() error) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := condition()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("wait for %s: %v", what, err)
		}
	}
}

// Name returns a unique name for a resource: lower-case letters, digits and hyphens, at most 48 of them,
// which every service here takes as the name of anything.
func Name(t testing.TB, prefix string) string {
	t.Helper()
	const longest, random = 48, 8
	clean := strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return unicode.ToLower(r)
		}
		return '-'
	}, prefix+"-"+t.Name())
	clean = strings.TrimLeft(clean, "-")
	if len(clean) > longest-random-1 {
		clean = clean[:longest-random-1]
	}
	return strings.TrimRight(clean, "-") + "-" + strings.ToLower(rand.Text()[:random])
}

func service(t testing.TB, name string) local.ServiceState {
	t.Helper()
	state, err := readState()
	if errors.Is(err, local.ErrNotRunning) {
		t.Fatalf("this test needs %s, and no stack is running: %s", name, howToRun)
	}
	if err != nil {
		t.Fatalf("find the stack: %v", err)
	}
	found, has := state.Services[name]
	if !has {
		t.Fatalf("this test needs %s, which the running stack was started without: %s", name, howToRun)
	}
	return found
}

// readState reads the state of the stack that runs this test, or else of the one that is up in this clone.
func readState() (*local.State, error) {
	path := os.Getenv(local.EnvStack)
	if path == "" {
		root, err := local.FindRoot(".")
		if err != nil {
			return nil, err
		}
		path = local.StateFile(root, "stack")
	}
	return local.ReadState(path)
}
