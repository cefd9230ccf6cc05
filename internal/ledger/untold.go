package ledger

import (
	"context"
	"fmt"
	"iter"
	"strings"
)

// untold is where it is noted that the dead-letter queue does not know of an
// entry. It stands beside the ledger, whose readers take every object below
// ledger/ for an entry.
const untold = "untold/"

// NoteUntold notes that the dead-letter queue does not know of an entry yet.
// The process that finds the note sends the letter, and then calls Told.
func (l *Ledger) NoteUntold(ctx context.Context, key string) error {
	place, err := placeOf(key)
	if err != nil {
		return err
	}
	if err := l.store.Put(ctx, untold+place, []byte("{}")); err != nil {
		return fmt.Errorf("mark ledger entry %s as not reported: %w", place, err)
	}
	return nil
}

// Untold yields the keys of the entries of which the dead-letter queue does not
// know yet, in order. An error ends it.
func (l *Ledger) Untold(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for key, err := range l.store.Keys(ctx, untold) {
			if err != nil {
				yield("", fmt.Errorf("list untold ledger entries: %w", err))
				return
			}
			if !yield(open+strings.TrimPrefix(key, untold), nil) {
				return
			}
		}
	}
}

// Told removes the note about an entry.
func (l *Ledger) Told(ctx context.Context, key string) error {
	place, err := placeOf(key)
	if err != nil {
		return err
	}
	if err := l.store.Delete(ctx, untold+place); err != nil {
		return fmt.Errorf("remove the note about ledger entry %s: %w", place, err)
	}
	return nil
}
