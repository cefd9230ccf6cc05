package backup_test

import (
	"bytes"
	"context"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
)

type object struct {
	body []byte
	meta map[string]string
}

// memory is a Store that keeps PutNew's promise.
type memory struct {
	mu      sync.Mutex
	objects map[string]object
	after   error // what the next PutNew says although it has written
}

func newMemory() *memory { return &memory{objects: map[string]object{}} }

func (m *memory) PutNew(_ context.Context, key string, body []byte, meta map[string]string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, there := m.objects[key]; there {
		return false, nil
	}
	m.objects[key] = object{bytes.Clone(body), meta}
	err := m.after
	m.after = nil
	return err == nil, err
}

func (m *memory) Meta(_ context.Context, key string) (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, there := m.objects[key]
	if !there {
		return nil, fs.ErrNotExist
	}
	return o.meta, nil
}

func (m *memory) Keys(_ context.Context, prefix string) iter.Seq2[string, error] {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.Sorted(maps.Keys(m.objects))
	return func(yield func(string, error) bool) {
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) && !yield(key, nil) {
				return
			}
		}
	}
}
