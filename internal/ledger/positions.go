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
	return l.PositionsOf(ctx, key, func(Entry, Record) bool { return true })
}

// PositionsOf is Positions of those records that are chosen. Choose is shown of an
// entry only its resolution, and of a record only its sequence number and how it
// ended: their data, of some MiB, is not kept for it.
func (l *Ledger) PositionsOf(ctx context.Context, key string, choose func(Entry, Record) bool) ([]string, error) {
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
			Resolution *Resolution `json:"resolution"`
			Records    []struct {
				Sequence string `json:"sequence"`
				Ended    string `json:"ended"`
			} `json:"records"`
		}
		if err := json.Unmarshal(body, &e); err != nil {
			return nil, fmt.Errorf("decode ledger entry %s: %w", place, err)
		}
		positions := make([]string, 0, len(e.Records))
		for _, r := range e.Records {
			if choose(Entry{Resolution: e.Resolution}, Record{Sequence: r.Sequence, Ended: r.Ended}) {
				positions = append(positions, r.Sequence)
			}
		}
		slices.SortFunc(positions, telemetry.ComparePositions)
		return positions, nil
	}
	return nil, nil
}
