package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"millrace/internal/telemetry"
)

// Positions returns the sequence numbers of the records of an entry, open or
// done, in the order of the shard; none where there is no such entry.
func (l *Ledger) Positions(ctx context.Context, key string) ([]string, error) {
	place, err := placeOf(key)
	if err != nil {
		return nil, err
	}
	for _, key := range []string{done + place, open + place} {
		body, err := l.store.Get(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read ledger entry %s: %w", place, err)
		}
		var e struct {
			Records []struct {
				Sequence string `json:"sequence"`
			} `json:"records"`
		}
		if err := json.Unmarshal(body, &e); err != nil {
			return nil, fmt.Errorf("decode ledger entry %s: %w", place, err)
		}
		positions := make([]string, len(e.Records))
		for i, r := range e.Records {
			positions[i] = r.Sequence
		}
		slices.SortFunc(positions, telemetry.CompareSequence)
		return positions, nil
	}
	return nil, nil
}
