package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Trimmed says what retention has deleted of an index that stays, since it is
// not of one day. It is written before each deletion: an index that has fewer
// documents without it is suspect, and a recovery brings nothing back that was
// received before Before.
type Trimmed struct {
	Index     string    `json:"index"`
	Documents int64     `json:"documents"` // in all, at the most
	Before    time.Time `json:"before"`
	At        time.Time `json:"at"` // the last time
}

const trimmed = "trimmed/"

func trimmedKey(index string) string { return trimmed + segment(index) + suffix }

// Add writes down that more documents of an index are about to be deleted, or,
// where it is less than none, that some were not. Runs of retention do not
// overlap; should two, a snapshot may be suspect of what both have deleted.
func (t *Trimmed) Add(ctx context.Context, store Store, documents int64, before time.Time) error {
	next := *t
	next.Documents += documents
	next.At = time.Now().UTC()
	if before.After(next.Before) {
		next.Before = before.UTC()
	}
	body, err := json.Marshal(next)
	if err == nil {
		err = store.Put(ctx, trimmedKey(t.Index), body)
	}
	if err != nil {
		return fmt.Errorf("write down what is deleted of %s: %w", t.Index, err)
	}
	*t = next
	return nil
}

// TrimmedIndex returns what retention has deleted of an index.
func TrimmedIndex(ctx context.Context, store Store, index string) (Trimmed, error) {
	t := Trimmed{Index: index}
	body, err := store.Get(ctx, trimmedKey(index))
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(body, &t)
	}
	if err != nil {
		return t, fmt.Errorf("read what was deleted of %s: %w", index, err)
	}
	return t, nil
}

// ListTrimmed returns how many documents retention has deleted of each index
// that stays.
func ListTrimmed(ctx context.Context, store Store) (map[string]int64, error) {
	all := map[string]int64{}
	for key, err := range store.Keys(ctx, trimmed) {
		if err != nil {
			return nil, fmt.Errorf("list what was deleted of indices: %w", err)
		}
		t, err := TrimmedIndex(ctx, store, strings.TrimSuffix(strings.TrimPrefix(key, trimmed), suffix))
		if err != nil {
			return nil, err
		}
		all[t.Index] = t.Documents
	}
	return all, nil
}

// Gone is what retention has taken of an index.
type Gone struct {
	Retired time.Time // when it has deleted the index; zero: never
	Trimmed int64     // documents of it, in all
}

// GoneOf returns what retention has taken of an index.
func GoneOf(ctx context.Context, store Store, index string) (Gone, error) {
	r, _, err := RetiredIndex(ctx, store, index)
	if err != nil {
		return Gone{}, err
	}
	t, err := TrimmedIndex(ctx, store, index)
	return Gone{Retired: r.At, Trimmed: t.Documents}, err
}
