package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	retention      = 24 * time.Hour
	namespaceKnown = time.Minute // within which the server's caches learn of a namespace
)

// makeNamespace gives a run a namespace of Temporal of its own. A batch that an
// earlier run had not ended would go on in this one: it has the same records.
func (e *experiment) makeNamespace(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, namespaceKnown)
	defer cancel()
	c, err := client.DialContext(ctx, client.Options{
		HostPort: e.temporal, Namespace: name, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	if err != nil {
		return fmt.Errorf("connect to Temporal: %w", err)
	}
	defer c.Close()
	if _, err := c.WorkflowService().RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: name, WorkflowExecutionRetentionPeriod: durationpb.New(retention),
	}); err != nil {
		return fmt.Errorf("register namespace %s: %w", name, err)
	}
	for {
		_, err := c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: name})
		if err == nil {
			return nil
		}
		if pause(ctx, pollInterval) != nil {
			return fmt.Errorf("wait until namespace %s is known: %w", name, err)
		}
	}
}
