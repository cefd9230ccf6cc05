// Package heartbeat has activities outlive a Temporal that answers slowly.
package heartbeat

import (
	"context"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
)

// Within is how long a heartbeat may take: half of the shortest timeout after
// which Temporal gives an activity to another worker.
const Within = 5 * time.Second

// Patient gives heartbeats that long. The SDK gives them as long as it throttles
// them, a second where they are to be fresh, and cancels an activity of which one
// had no answer by then (internalHeartBeat in its internal_task_handlers.go): all
// shards would stop and begin anew whenever Temporal is slow.
func Patient() grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, request, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if method == workflowservice.WorkflowService_RecordActivityTaskHeartbeat_FullMethodName {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), Within)
			defer cancel()
		}
		return invoke(ctx, method, request, reply, cc, options...)
	})
}
