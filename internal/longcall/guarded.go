package longcall

import (
	"sync"
)

// Guarded is a value that several goroutines share.
type Guarded[T any] struct {
	mu    sync.Mutex
	value T
}

// Get returns the value.
func (g *Guarded[T]) Get() T {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.value
}

// Set replaces the value.
func (g *Guarded[T]) Set(value T) { g.Change(func(v *T) { *v = value }) }

// Change changes the value, while no one else reads it.
func (g *Guarded[T]) Change(change func(*T)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(&g.value)
}
