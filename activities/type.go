package activities

import (
	"context"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// Type is an activity type: the name that histories keep, with what the activity
// takes and returns. Workflows execute it and workers register it, so the compiler
// holds both sides to one declaration. A Go method may change its name; a Type may
// not, since open workflows wait for it.
type Type[In, Out any] string

// Execute begins the activity.
func (t Type[In, Out]) Execute(ctx workflow.Context, in In) Future[Out] {
	return Future[Out]{workflow.ExecuteActivity(ctx, string(t), in)}
}

// ExecuteLocal begins it as a local activity.
func (t Type[In, Out]) ExecuteLocal(ctx workflow.Context, in In) Future[Out] {
	return Future[Out]{workflow.ExecuteLocalActivity(ctx, string(t), in)}
}

// Register registers a function as the activity.
func (t Type[In, Out]) Register(r worker.ActivityRegistry, f func(context.Context, In) (Out, error)) {
	r.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: string(t)})
}

// Action is a Type without a result.
type Action[In any] string

// Execute begins the activity.
func (a Action[In]) Execute(ctx workflow.Context, in In) workflow.Future {
	return workflow.ExecuteActivity(ctx, string(a), in)
}

// Register registers a function as the activity.
func (a Action[In]) Register(r worker.ActivityRegistry, f func(context.Context, In) error) {
	r.RegisterActivityWithOptions(f, activity.RegisterOptions{Name: string(a)})
}

// Future is the result of an activity, once there is one.
type Future[Out any] struct{ workflow.Future }

// Get waits for the result and decodes it into out, unless that is nil. Members
// that the result omits keep the value that they have in out.
func (f Future[Out]) Get(ctx workflow.Context, out *Out) error {
	if out == nil {
		return f.Future.Get(ctx, nil) //nolint:wrapcheck // as from the SDK
	}
	return f.Future.Get(ctx, out) //nolint:wrapcheck // as from the SDK
}
