package config_test

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"millrace/internal/config"
)

// encodings notes how requests are compressed.
type encodings struct {
	mu   sync.Mutex
	seen []string
}

func (*encodings) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*encodings) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*encodings) HandleConn(context.Context, stats.ConnStats)                       {}

func (e *encodings) HandleRPC(_ context.Context, s stats.RPCStats) {
	if header, is := s.(*stats.InHeader); is {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.seen = append(e.seen, header.Compression)
	}
}

type frontend struct {
	workflowservice.UnimplementedWorkflowServiceServer
}

func (frontend) GetSystemInfo(context.Context, *workflowservice.GetSystemInfoRequest) (*workflowservice.GetSystemInfoResponse, error) {
	return &workflowservice.GetSystemInfoResponse{}, nil
}

// TestRequestsToTemporalAreNotCompressed: a batch is compressed before it is a payload, and to compress it once more costs
// the collector a third of its throughput.
func TestRequestsToTemporalAreNotCompressed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &encodings{}
	server := grpc.NewServer(grpc.StatsHandler(e))
	workflowservice.RegisterWorkflowServiceServer(server, frontend{})
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	t.Setenv("TEMPORAL_ADDRESS", listener.Addr().String())
	options, err := config.Temporal(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.DialContext(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.seen) == 0 {
		t.Error("no request arrived")
	}
	for _, encoding := range e.seen {
		if encoding != "" && encoding != "identity" {
			t.Errorf("a request is compressed with %s", encoding)
		}
	}
}
