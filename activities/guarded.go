package activities

import (
	"context"
	"sync"

	"go.temporal.io/sdk/activity"
)

// guarded is a value that several goroutines share.
type guarded[T any] struct {
	mu    sync.Mutex
	value T
}

func (g *guarded[T]) get() T {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.value
}

func (g *guarded[T]) set(value T) { g.change(func(v *T) { *v = value }) }

func (g *guarded[T]) change(change func(*T)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.value)
}

// previous reads how far an earlier attempt of this activity was, and reports
// whether it has said so.
func previous(ctx context.Context, progress any) bool {
	return activity.HasHeartbeatDetails(ctx) && activity.GetHeartbeatDetails(ctx, progress) == nil
}
