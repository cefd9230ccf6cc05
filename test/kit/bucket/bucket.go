// Package bucket is an S3 bucket in memory, for tests that need no real one.
package bucket

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
)

// Memory is a bucket in memory, which can fail now and then. It is safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	random  *rand.Rand
	fickle  bool
	objects map[string][]byte
	writes  int
	reads   int
	broken  bool
}

// New returns an empty bucket that never fails.
func New() *Memory {
	return &Memory{random: rand.New(rand.NewPCG(1, 2)), objects: map[string][]byte{}}
}

// SetFickle makes it fail one call in twenty, or not, and returns what it did before.
func (m *Memory) SetFickle(fickle bool) (before bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, m.fickle = m.fickle, fickle
	return before
}

func (m *Memory) fails() error {
	if m.broken || m.fickle && m.random.IntN(20) == 0 {
		return errors.New("S3 is away")
	}
	return nil
}

// PutNew implements archive.Bucket.
func (m *Memory) PutNew(_ context.Context, key string, body []byte, _ map[string]string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fails(); err != nil {
		return false, err
	}
	if _, there := m.objects[key]; there {
		return false, nil
	}
	m.objects[key] = body
	m.writes++
	return true, nil
}

// Put implements archive.Bucket.
func (m *Memory) Put(_ context.Context, key string, body []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fails(); err != nil {
		return err
	}
	m.objects[key] = body
	m.writes++
	return nil
}

// Get implements archive.Bucket.
func (m *Memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fails(); err != nil {
		return nil, err
	}
	m.reads++
	body, there := m.objects[key]
	if !there {
		return nil, fs.ErrNotExist
	}
	return body, nil
}

// GetRange implements archive.Bucket.
func (m *Memory) GetRange(ctx context.Context, key string, from, length int64) ([]byte, error) {
	body, err := m.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	size := int64(len(body))
	return body[min(from, size):min(from+length, size)], nil
}

// Delete implements archive.Bucket.
func (m *Memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.fails(); err != nil {
		return err
	}
	delete(m.objects, key)
	m.writes++
	return nil
}

// Keys implements archive.Bucket.
func (m *Memory) Keys(_ context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		m.mu.Lock()
		err := m.fails()
		m.reads++
		keys := slices.Sorted(maps.Keys(m.objects))
		m.mu.Unlock()
		if err != nil {
			yield("", err)
			return
		}
		for _, key := range keys {
			if strings.HasPrefix(key, prefix) && !yield(key, nil) {
				return
			}
		}
	}
}

// Writes counts the calls that changed something.
func (m *Memory) Writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

// Reads counts the calls that read an object, or listed some.
func (m *Memory) Reads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.reads
}

// Break makes each call fail, until Mend.
func (m *Memory) Break() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = true
}

// Mend is the opposite of Break.
func (m *Memory) Mend() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.broken = false
}
