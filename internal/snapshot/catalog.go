package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"
)

// Store is where the records are. The error of Get is fs.ErrNotExist where
// there is none. See archive.Bucket.
type Store interface {
	Put(ctx context.Context, key string, body []byte) error
	Get(ctx context.Context, key string) ([]byte, error)
	Delete(ctx context.Context, key string) error
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// ErrNone says that there is no snapshot such as was asked for.
var ErrNone = errors.New("no such snapshot")

// Catalog has the records of all snapshots in a repository. It is safe for
// concurrent use; a record has one writer at a time, its SnapshotIndex.
type Catalog struct {
	store      Store
	repository string
}

// Open returns the catalog of a repository in a store. Its keys all begin with
// "snapshots/".
func Open(store Store, repository string) *Catalog {
	return &Catalog{store: store, repository: repository}
}

const (
	root   = "snapshots/"
	suffix = ".json"
)

func (c *Catalog) prefix() string { return root + segment(c.repository) + "/" }

// Key is where the record of a snapshot stands.
func (c *Catalog) Key(name string) string { return c.prefix() + segment(name) + suffix }

// segment keeps to itself what came from outside.
func segment(s string) string { return strings.ReplaceAll(s, "/", "_") }

// Put writes a record, in place of the one of that name if there is one.
func (c *Catalog) Put(ctx context.Context, r Record) error {
	if r.Name == "" || r.Repository != c.repository {
		return fmt.Errorf("write the record of snapshot %q in repository %q: this is the catalog of %q", r.Name, r.Repository, c.repository)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the record of snapshot %s: %w", r.Name, err)
	}
	if err := c.store.Put(ctx, c.Key(r.Name), body); err != nil {
		return fmt.Errorf("write the record of snapshot %s: %w", r.Name, err)
	}
	return nil
}

// Get returns the record of a snapshot. The error is ErrNone where there is
// none.
func (c *Catalog) Get(ctx context.Context, name string) (Record, error) {
	return c.read(ctx, c.Key(name))
}

func (c *Catalog) read(ctx context.Context, key string) (r Record, err error) {
	body, err := c.store.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("read %s: %w", key, ErrNone)
	}
	if err != nil {
		return r, fmt.Errorf("read the record of a snapshot: %w", err)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("decode %s: %w", key, err)
	}
	return r, nil
}

// Delete removes the record of a snapshot. That there is none is no error.
func (c *Catalog) Delete(ctx context.Context, name string) error {
	if err := c.store.Delete(ctx, c.Key(name)); err != nil {
		return fmt.Errorf("delete the record of snapshot %s: %w", name, err)
	}
	return nil
}

// List returns all records, the newest first.
func (c *Catalog) List(ctx context.Context) ([]Record, error) {
	var all []Record
	for key, err := range c.store.Keys(ctx, c.prefix()) {
		if err != nil {
			return nil, fmt.Errorf("list the records of snapshots: %w", err)
		}
		r, err := c.read(ctx, key)
		if errors.Is(err, ErrNone) { // deleted meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Record) int { return b.Started.Compare(a.Started) })
	return all, nil
}

// LastGood returns the newest snapshot that a recovery may choose unasked,
// of those that were begun before a time unless that is zero. The error is
// ErrNone where there is none.
func (c *Catalog) LastGood(ctx context.Context, before time.Time) (Record, error) {
	all, err := c.List(ctx)
	if err != nil {
		return Record{}, err
	}
	r, found := LastGood(all, before)
	if !found {
		return r, fmt.Errorf("find a good snapshot in repository %s: %w", c.repository, ErrNone)
	}
	return r, nil
}

// LastGood chooses among records, the newest first.
func LastGood(all []Record, before time.Time) (Record, bool) {
	for _, r := range all {
		if r.Good() && (before.IsZero() || r.Started.Before(before)) {
			return r, true
		}
	}
	return Record{}, false
}
