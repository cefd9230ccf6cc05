package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Settled is how many documents of an index were sent before a time, counted when
// nothing of that time was on its way any more. So there are never more of them:
// an index that lost some, and got as many new ones, has fewer.
//
// Fewer for a good reason there are in two cases. Retention deletes documents, and
// says how many in all: what it has deleted since counts as there, which may hide
// as many losses as it deleted documents that were sent later and received long
// before. And a recovery sends anew what it brings back: a complete one writes
// down a new Basis.
type Settled struct {
	Before    time.Time `json:"before"` // by indexed_at
	Documents int64     `json:"documents"`
	Trimmed   int64     `json:"trimmed,omitempty"` // that retention had deleted by then, in all
}

// Wants is how many of the documents must be there still.
func (s Settled) Wants(trimmed int64) int64 { return s.Documents - max(0, trimmed-s.Trimmed) }

// lost is how many documents of an index that was settled are not there any more,
// as far as they were counted.
func lost(before, now Index, trimmed int64) int64 {
	if before.Settled == nil || now.Still == nil || !now.Still.Before.Equal(before.Settled.Before) {
		return 0
	}
	return max(0, before.Settled.Wants(trimmed)-now.Still.Documents)
}

// Basis is what a complete recovery has counted, by index.
type Basis map[string]Based

// Based is an index of a Basis.
type Based struct {
	Settled
	Created time.Time `json:"created"` // of the index
}

const basis = "basis" + suffix

// ReadBasis returns what complete recoveries have counted.
func ReadBasis(ctx context.Context, store Store) (Basis, error) {
	all := Basis{}
	body, err := store.Get(ctx, basis)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(body, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("read what recoveries have counted: %w", err)
	}
	return all, nil
}

// Write writes a basis down. One recovery runs at a time.
func (b Basis) Write(ctx context.Context, store Store) error {
	body, err := json.Marshal(b)
	if err == nil {
		err = store.Put(ctx, basis, body)
	}
	if err != nil {
		return fmt.Errorf("write what a recovery has counted: %w", err)
	}
	return nil
}

// Rebase replaces in a record what a recovery has counted later of an index.
func (b Basis) Rebase(r Record) {
	for name, of := range r.Indices {
		based, there := b[name]
		if there && based.Created.Equal(of.Created) && (of.Settled == nil || based.Before.After(of.Settled.Before)) {
			of.Settled = &based.Settled
			r.Indices[name] = of
		}
	}
}
