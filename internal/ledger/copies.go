package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"millrace/internal/telemetry"
)

// Copies lists the open copies that have records of a range: their keys, in
// order. Of a whole shard that is a range without numbers.
func (l *Ledger) Copies(ctx context.Context, r telemetry.Range) (keys []string, err error) {
	return l.copies(ctx, open, r)
}

func (l *Ledger) copies(ctx context.Context, state string, r telemetry.Range) (keys []string, err error) {
	for key, err := range l.store.Keys(ctx, state+path.Dir(Entry{Range: r}.place(l.stream))+"/"+copyMark) {
		if err != nil {
			return nil, fmt.Errorf("list the ledger's copies: %w", err)
		}
		if has, ok := CopyOf(key, r.StreamCreated); ok && (r.First == "" || overlap(has, r)) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

func overlap(a, b telemetry.Range) bool {
	return telemetry.ComparePositions(a.First, b.Last) <= 0 && telemetry.ComparePositions(b.First, a.Last) <= 0
}

// Recall returns, by sequence number, the records of a range of which there is
// a copy, open or done: for when the stream has them no longer.
func (l *Ledger) Recall(ctx context.Context, r telemetry.Range) (map[string]Record, error) {
	found := map[string]Record{}
	for _, state := range []string{open, done} { // in this order: one that is resolved meanwhile is in both
		keys, err := l.copies(ctx, state, r)
		if err != nil {
			return nil, err
		}
		for _, key := range keys {
			e, err := l.Get(ctx, key)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it was deleted meanwhile
			}
			if err != nil {
				return nil, err
			}
			for _, record := range e.Records {
				if telemetry.ComparePositions(record.Sequence, r.First) >= 0 && telemetry.ComparePositions(record.Sequence, r.Last) <= 0 {
					found[record.Sequence] = record
				}
			}
		}
	}
	return found, nil
}
