package queue_test

import (
	"context"
	"io/fs"
	"maps"
	"slices"
	"sync"
)

// fakeOverflow is an Overflow in memory that can fail.
type fakeOverflow struct {
	mu      sync.Mutex
	objects map[string][]byte
	err     error // of every call
}

func (o *fakeOverflow) Put(_ context.Context, key string, body []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		o.objects[key] = body
	}
	return o.err
}

func (o *fakeOverflow) Get(_ context.Context, key string) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if body, has := o.objects[key]; has || o.err != nil {
		return body, o.err
	}
	return nil, fs.ErrNotExist
}

func (o *fakeOverflow) Delete(_ context.Context, key string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil {
		delete(o.objects, key)
	}
	return o.err
}

func (o *fakeOverflow) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = err
}

func (o *fakeOverflow) keys() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Collect(maps.Keys(o.objects))
}
