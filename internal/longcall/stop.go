package longcall

import (
	"context"
	"errors"

	"go.temporal.io/sdk/activity"
)

// Reasons to end a call.
var (
	ErrDue            = errors.New("the call has taken its time")
	ErrCanceled       = errors.New("the activity was canceled")
	ErrWorkerStopping = errors.New("the worker is stopping")
	ErrChanged        = errors.New("the state has changed")
)

// WithWorkerStop returns a context that also ends when the worker is asked to stop,
// so that the activity can end in order before it is abandoned.
func WithWorkerStop(ctx context.Context) (context.Context, context.CancelFunc) {
	stopping, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-activity.GetWorkerStopChannel(ctx):
			cancel()
		case <-stopping.Done():
		}
	}()
	return stopping, cancel
}
