package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"

	"millrace/internal/ledger/lookup"
)

// Store is where the objects are. The error of Get is fs.ErrNotExist where
// there is none; Keys yields in order. See archive.Bucket.
type Store interface {
	PutNew(ctx context.Context, key string, body []byte, meta map[string]string) (created bool, err error)
	Put(ctx context.Context, key string, body []byte) error
	Get(ctx context.Context, key string) ([]byte, error)
	GetRange(ctx context.Context, key string, from, length int64) ([]byte, error)
	Delete(ctx context.Context, key string) error
	Keys(ctx context.Context, prefix string) iter.Seq2[string, error]
}

// Ledger keeps entries. It is safe for concurrent use, also by several
// processes.
type Ledger struct {
	store  Store
	stream string
	index  *lookup.Index
}

// New returns the ledger in a store, whose keys all begin with "ledger/",
// "ledger-index/" or "untold/".
// stream is the name of the stream under which entries stand that never had a
// range.
func New(store Store, stream string) *Ledger {
	return &Ledger{store: store, stream: stream, index: lookup.New(store)}
}

// Add writes an entry and returns its key. That it is there already, open or
// done, is success: what is there stays.
func (l *Ledger) Add(ctx context.Context, e Entry) (key string, err error) {
	place := e.place(l.stream)
	key = open + place
	// A late retry must not open again what an operator has done with.
	if done, err := l.isDone(ctx, place); err != nil {
		return "", err
	} else if done {
		return key, l.note(ctx, place, e)
	}
	body, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("encode ledger entry %s: %w", place, err)
	}
	created, err := l.store.PutNew(ctx, key, body, map[string]string{"kind": string(e.Kind)})
	if err != nil {
		return "", fmt.Errorf("write ledger entry %s: %w", place, err)
	}
	if created {
		countAdded(e)
	}
	// Also where it was there: who wrote it may have been stopped here.
	if err := l.note(ctx, place, e); err != nil {
		return "", err
	}
	return key, nil
}

// Has reports whether there is an entry under the key that Add would give this
// one, open or done.
func (l *Ledger) Has(ctx context.Context, e Entry) (bool, error) {
	place := e.place(l.stream)
	if done, err := l.isDone(ctx, place); done || err != nil {
		return done, err
	}
	_, err := l.store.Get(ctx, open+place)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return err == nil, nil
	}
	return false, fmt.Errorf("look for ledger entry %s: %w", place, err)
}

// Get returns an entry by the key that Add gave it, also after it was
// resolved. The error wraps fs.ErrNotExist where there is none.
func (l *Ledger) Get(ctx context.Context, key string) (Entry, error) {
	place, err := placeOf(key)
	if err != nil {
		return Entry{}, err
	}
	// Done first: while an entry is moved it is in both places.
	for _, key := range []string{done + place, open + place} {
		var body []byte
		if body, err = l.store.Get(ctx, key); err == nil {
			var e Entry
			if err = json.Unmarshal(body, &e); err != nil {
				return Entry{}, fmt.Errorf("decode ledger entry %s: %w", key, err)
			}
			return e, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return Entry{}, fmt.Errorf("read ledger entry %s: %w", place, err)
}

// Update writes an open entry anew, with what has become of its records. It
// reports false, and changes nothing, if the entry was resolved meanwhile.
func (l *Ledger) Update(ctx context.Context, key string, e Entry) (open bool, err error) {
	place, err := placeOf(key)
	if err != nil {
		return false, err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return false, fmt.Errorf("encode ledger entry %s: %w", place, err)
	}
	if done, err := l.isDone(ctx, place); done || err != nil {
		return false, err
	}
	if err := l.store.Put(ctx, openKey(place), body); err != nil {
		return false, fmt.Errorf("write ledger entry %s: %w", place, err)
	}
	// A process that resolved it between the two may have deleted the open entry
	// before it was written again.
	done, err := l.isDone(ctx, place)
	if err != nil || !done {
		return err == nil, err
	}
	if err := l.store.Delete(ctx, openKey(place)); err != nil {
		return false, fmt.Errorf("close ledger entry %s: %w", place, err)
	}
	return false, nil
}

func openKey(place string) string { return open + place }

// isDone reports whether an entry was resolved.
func (l *Ledger) isDone(ctx context.Context, place string) (bool, error) {
	_, err := l.store.Get(ctx, done+place)
	if err == nil {
		return true, nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return false, fmt.Errorf("look for ledger entry %s: %w", place, err)
}

// Filter chooses entries. An empty field matches all.
type Filter struct {
	Done   bool   // those that were resolved, instead of those that are open
	Stream string // name
	Shard  string // of that stream; "ingest" for records without one
}

func (f Filter) prefix() string {
	prefix := open
	if f.Done {
		prefix = done
	}
	if f.Stream == "" {
		return prefix
	}
	prefix += segment(f.Stream) + "/"
	if f.Shard == "" {
		return prefix
	}
	return prefix + segment(f.Shard) + "/"
}

// List yields the keys of entries, in order. An error ends it.
func (l *Ledger) List(ctx context.Context, f Filter) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for key, err := range l.store.Keys(ctx, f.prefix()) {
			if err != nil {
				yield("", fmt.Errorf("list the ledger: %w", err))
				return
			}
			if !yield(key, nil) {
				return
			}
		}
	}
}

// Resolve says what became of an open entry and moves it to those that are
// done. The first resolution stands; to resolve again is success. The error
// wraps fs.ErrNotExist where there is no such entry.
func (l *Ledger) Resolve(ctx context.Context, key string, r Resolution) error {
	e, err := l.Get(ctx, key)
	if err != nil {
		return err
	}
	place, err := placeOf(key)
	if err != nil {
		return err
	}
	if e.Resolution == nil {
		e.Resolution = &r
		body, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode ledger entry %s: %w", place, err)
		}
		if _, err := l.store.PutNew(ctx, done+place, body, map[string]string{"kind": string(e.Kind)}); err != nil {
			return fmt.Errorf("write the resolution of ledger entry %s: %w", place, err)
		}
	}
	if err := l.store.Delete(ctx, open+place); err != nil {
		return fmt.Errorf("close ledger entry %s: %w", place, err)
	}
	return nil
}

// IsKey reports whether a text is the key of an entry, open or done.
func IsKey(key string) bool {
	_, err := placeOf(key)
	return err == nil
}

// placeOf is what stands behind open/ or done/.
func placeOf(key string) (string, error) {
	for _, prefix := range []string{open, done} {
		if place, found := strings.CutPrefix(key, prefix); found && place != "" {
			return place, nil
		}
	}
	return "", fmt.Errorf("%q is not the key of a ledger entry", key)
}
