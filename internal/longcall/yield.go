package longcall

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
)

// Operators pause and reset activities with Temporal's own buttons. The server answers
// the next heartbeat with it, and the SDK ends the activity's context. A call then
// yields: it drains, records how far it is, and ends with an error, so that the server
// keeps the activity, paused, and its next attempt resumes where this one stood. If it
// ended with success, the activity would be over, and the pause with it.

// YieldType is the type of the error with which a call yields.
const YieldType = "Yielded"

// recordWithin bounds in time a heartbeat that is sent past the activity's context.
const recordWithin = 5 * time.Second

// yields returns why a call is to yield; nil if it is not.
func yields(ctx context.Context) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, activity.ErrActivityPaused) || errors.Is(cause, activity.ErrActivityReset) {
		return cause
	}
	return nil
}

// record sends a heartbeat. That of a call that yields goes past its context, with
// which the SDK would not send it; without it, a drain of some seconds would time out.
func record(ctx context.Context, details any) {
	if yields(ctx) == nil {
		activity.RecordHeartbeat(ctx, details)
		return
	}
	sending, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	info := activity.GetInfo(ctx)
	err := activity.GetClient(ctx).RecordActivityHeartbeat(sending, info.TaskToken, details)
	if err != nil && !errors.Is(err, activity.ErrActivityPaused) && !errors.Is(err, activity.ErrActivityReset) {
		slog.Warn("a call that yields cannot say how far it is", "workflow", info.WorkflowExecution.ID, "activity", info.ActivityType.Name, "error", err)
	}
}

// Yield is the interceptor of a worker that turns the success of a call that yields
// into an error which the server tries again.
type Yield struct {
	interceptor.WorkerInterceptorBase
}

// InterceptActivity implements interceptor.WorkerInterceptor.
func (Yield) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	y := &yielding{}
	y.Next = next
	return y
}

type yielding struct {
	interceptor.ActivityInboundInterceptorBase
}

// ExecuteActivity implements interceptor.ActivityInboundInterceptor.
func (y *yielding) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	result, err := y.Next.ExecuteActivity(ctx, in)
	cause := yields(ctx)
	if cause == nil || err != nil && !errors.Is(err, context.Canceled) && !temporal.IsCanceledError(err) {
		return result, err
	}
	return nil, temporal.NewApplicationErrorWithOptions(
		"the call yields, and its next attempt goes on: "+cause.Error(), YieldType,
		temporal.ApplicationErrorOptions{Category: temporal.ApplicationErrorCategoryBenign},
	)
}
