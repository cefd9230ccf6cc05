package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"

	"millrace/deploy/local"
	"millrace/internal/config"
)

// Apart returns the settings of a pipeline that shares a stack's servers with
// others, and nothing else but the indices: namespace, stream, queues, bucket
// and folder are its own, by a name that is new.
func Apart(ctx context.Context, stack *local.Stack, programs Programs, name string) (Settings, error) {
	s := Settings{
		Programs: programs, Servers: append(slices.Clone(stack.Env()), "TEMPORAL_NAMESPACE="+name),
		Resources: config.Resources{Stream: name, Queue: name, DeadLetters: name + "-dlq", Bucket: name},
		Dir:       filepath.Join(stack.LogDir(), name),
	}
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return s, fmt.Errorf("make a folder for logs: %w", err)
	}
	return s, MakeNamespace(ctx, stack.Service(local.Temporal).Address(), name)
}

const (
	namespaceRetention = 24 * time.Hour
	namespaceKnown     = 5 * time.Minute // within which the server's caches learn of a namespace
)

// MakeNamespace makes a namespace of Temporal, at an address, and waits until
// it can be used.
func MakeNamespace(ctx context.Context, temporal, name string) error {
	ctx, cancel := context.WithTimeout(ctx, namespaceKnown)
	defer cancel()
	c, err := DialQuietly(temporal, name)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(namespaceRetention),
	}); err != nil {
		return fmt.Errorf("register namespace %s: %w", name, err)
	}
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		_, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: name})
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until namespace %s is known: %w", name, errors.Join(context.Cause(ctx), err))
		}
	}
}

// DialQuietly makes a client of Temporal, at an address, that does not log what
// goes wrong: where faults are made, that is wanted.
func DialQuietly(temporal, namespace string) (client.Client, error) {
	c, err := client.NewLazyClient(client.Options{
		HostPort: temporal, Namespace: namespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return nil, fmt.Errorf("make the Temporal client: %w", err)
	}
	return c, nil
}
