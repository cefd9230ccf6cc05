package config

import (
	"context"
	"fmt"
	"sync/atomic"

	"go.temporal.io/sdk/client"
)

// Connecting is a Temporal client for one that starts workflows eagerly before it
// has connected. One call at a time connects; the others wait, each for as long as
// its context lasts. The SDK (1.50) stores what it learns of the server with each
// call that connects, and an eager start reads that without a lock.
//
// A worker is made of the client inside, once Connect has succeeded.
type Connecting struct {
	client.Client
	turn      chan struct{} // holds a token while one connects
	connected atomic.Bool
}

// NewConnecting returns the Connecting of a client that connects lazily.
func NewConnecting(c client.Client) *Connecting {
	return &Connecting{Client: c, turn: make(chan struct{}, 1)}
}

// Connect returns once Temporal has answered.
func (c *Connecting) Connect(ctx context.Context) error {
	if c.connected.Load() {
		return nil
	}
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("wait for the connection to Temporal: %w", context.Cause(ctx))
	}
	defer func() { <-c.turn }()
	if c.connected.Load() {
		return nil
	}
	if err := CheckTemporal(ctx, c.Client); err != nil {
		return err
	}
	c.connected.Store(true)
	return nil
}

// ExecuteWorkflow implements client.Client.
func (c *Connecting) ExecuteWorkflow(ctx context.Context, options client.StartWorkflowOptions, workflow any, args ...any) (client.WorkflowRun, error) {
	if err := c.Connect(ctx); err != nil {
		return nil, err
	}
	return c.Client.ExecuteWorkflow(ctx, options, workflow, args...) //nolint:wrapcheck // as without Connecting
}

// CheckHealth implements client.Client.
func (c *Connecting) CheckHealth(ctx context.Context, request *client.CheckHealthRequest) (*client.CheckHealthResponse, error) {
	if err := c.Connect(ctx); err != nil {
		return nil, err
	}
	return c.Client.CheckHealth(ctx, request) //nolint:wrapcheck // likewise
}
