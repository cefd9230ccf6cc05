package snapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Noted says that an index was there: one that comes and vanishes between two
// snapshots is in the records of neither. Workers write it as they index.
type Noted struct {
	Index   string    `json:"index"`
	Created time.Time `json:"created"` // by the clock of the cluster, in whole milliseconds
}

const noted = "indices/"

func (n Noted) key() string {
	return noted + strconv.FormatInt(n.Created.UnixMilli(), 10) + "-" + segment(n.Index) + suffix
}

// Note writes an index down. To do so again changes nothing.
func Note(ctx context.Context, store Store, n Noted) error {
	body, err := json.Marshal(n)
	if err == nil {
		err = store.Put(ctx, n.key(), body)
	}
	if err != nil {
		return fmt.Errorf("note the index %s: %w", n.Index, err)
	}
	return nil
}

// ListNoted returns the indices that were noted, by their keys alone.
func ListNoted(ctx context.Context, store Store) (all []Noted, err error) {
	for key, err := range store.Keys(ctx, noted) {
		if err != nil {
			return nil, fmt.Errorf("list the indices that were noted: %w", err)
		}
		millis, name, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(key, noted), suffix), "-")
		created, err := strconv.ParseInt(millis, 10, 64)
		if err != nil || name == "" { // who put it there is no reason to take no snapshots
			slog.WarnContext(ctx, "an object among the indices that were noted is none of ours", "key", key)
			continue
		}
		all = append(all, Noted{Index: name, Created: time.UnixMilli(created).UTC()})
	}
	return all, nil
}

// Forget takes back what was noted of some indices.
func Forget(ctx context.Context, store Store, notes []Noted) error {
	for _, n := range notes {
		if err := store.Delete(ctx, n.key()); err != nil {
			return fmt.Errorf("forget the index %s: %w", n.Index, err)
		}
	}
	return nil
}
