package indexing

import (
	"slices"
	"sync"
)

// mostKnownIndices bounds what is remembered of indices: more than there can be
// (see telemetry.Window), and little memory.
const mostKnownIndices = 4096

// knownIndices remembers which indices have answered a bulk, so that they need not
// be made. One that was deleted since is known still, which costs time alone. All
// shards of a worker share it. It is safe for concurrent use.
type knownIndices struct {
	mu    sync.RWMutex
	names map[string]bool
}

func (k *knownIndices) has(name string) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.names[name]
}

// answered enters the indices of a bulk that was answered.
func (k *knownIndices) answered(names []string) {
	k.mu.RLock()
	fresh := slices.ContainsFunc(names, func(name string) bool { return !k.names[name] })
	k.mu.RUnlock()
	if !fresh {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.names == nil || len(k.names)+len(names) > mostKnownIndices {
		k.names = map[string]bool{}
	}
	for _, name := range names {
		k.names[name] = true
	}
}
