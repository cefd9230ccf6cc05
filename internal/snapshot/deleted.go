package snapshot

import (
	"context"
	"sync"
	"time"

	"millrace/internal/telemetry"
)

// Deleted knows which records retention has deleted: those that had arrived in an
// index when it was retired, or were received before the time up to which it was
// trimmed. It reads what is written about an index once. It is safe for concurrent use.
type Deleted struct {
	store Store

	mu    sync.Mutex
	known map[string]kept
}

// kept says what of an index is: what arrived, and was received, from then on.
type kept struct{ arrived, received time.Time }

// NewDeleted returns a Deleted that reads from a store.
func NewDeleted(store Store) *Deleted { return &Deleted{store: store, known: map[string]kept{}} }

// Has reports whether retention has deleted a record that arrived in the stream at a
// time, or by the collector's clock where that is zero.
func (d *Deleted) Has(ctx context.Context, record telemetry.Record, arrived time.Time) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	from, known := d.known[string(record.Index)]
	if !known {
		name := string(record.Index)
		whole, _, err := RetiredIndex(ctx, d.store, name)
		if err != nil {
			return false, err
		}
		part, err := TrimmedIndex(ctx, d.store, name)
		if err != nil {
			return false, err
		}
		from = kept{arrived: whole.At, received: part.Before}
		d.known[name] = from
	}
	if arrived.IsZero() {
		arrived = record.ReceivedAt
	}
	return arrived.Before(from.arrived) || record.ReceivedAt.Before(from.received), nil
}
