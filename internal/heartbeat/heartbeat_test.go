package heartbeat

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
)

// deadlines is a Temporal that learns how long calls may take.
type deadlines struct {
	workflowservice.UnimplementedWorkflowServiceServer
	mu   sync.Mutex
	left map[string]time.Duration
}

func (d *deadlines) learn(ctx context.Context, call string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	deadline, _ := ctx.Deadline()
	d.left[call] = time.Until(deadline)
}

func (d *deadlines) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{}, nil
}

func (d *deadlines) RecordActivityTaskHeartbeat(ctx context.Context, _ *workflowservice.RecordActivityTaskHeartbeatRequest) (*workflowservice.RecordActivityTaskHeartbeatResponse, error) {
	d.learn(ctx, "heartbeat")
	return &workflowservice.RecordActivityTaskHeartbeatResponse{}, nil
}

func (d *deadlines) CountWorkflowExecutions(ctx context.Context, _ *workflowservice.CountWorkflowExecutionsRequest) (*workflowservice.CountWorkflowExecutionsResponse, error) {
	d.learn(ctx, "count")
	return &workflowservice.CountWorkflowExecutionsResponse{}, nil
}

// TestHeartbeatHasLongerDeadline, and other calls have what they were given.
func TestHeartbeatHasLongerDeadline(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d, server := &deadlines{left: map[string]time.Duration{}}, grpc.NewServer()
	workflowservice.RegisterWorkflowServiceServer(server, d)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	c, err := client.DialContext(t.Context(), client.Options{
		HostPort: listener.Addr().String(), ConnectionOptions: client.ConnectionOptions{DialOptions: []grpc.DialOption{Patient()}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	const short = 3 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), short)
	defer cancel()
	if _, err := c.WorkflowService().CountWorkflowExecutions(ctx, &workflowservice.CountWorkflowExecutionsRequest{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WorkflowService().RecordActivityTaskHeartbeat(ctx, &workflowservice.RecordActivityTaskHeartbeatRequest{}); err != nil {
		t.Fatal(err)
	}
	if got := d.left["count"]; got > short {
		t.Errorf("a call that may take %v has %v", short, got)
	}
	if got := d.left["heartbeat"]; got <= short || got > Within {
		t.Errorf("a heartbeat has %v", got)
	}
}
