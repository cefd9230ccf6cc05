package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Retired says that retention has deleted an index. It is written before that
// is done: what vanishes without it is suspect, and a recovery brings nothing
// back that has it.
type Retired struct {
	Index     string    `json:"index"`
	At        time.Time `json:"at"`
	Documents int64     `json:"documents"`
	Covered   string    `json:"covered"` // what has its documents still: a snapshot's name, or the backup
}

const retired = "retired/"

// Retire writes down that an index is about to be deleted.
func Retire(ctx context.Context, store Store, r Retired) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode the retirement of %s: %w", r.Index, err)
	}
	if err := store.Put(ctx, retired+segment(r.Index)+suffix, body); err != nil {
		return fmt.Errorf("write the retirement of %s: %w", r.Index, err)
	}
	return nil
}

// RetiredIndex returns what is known of an index that retention has deleted;
// false where that has not happened.
func RetiredIndex(ctx context.Context, store Store, index string) (r Retired, found bool, err error) {
	body, err := store.Get(ctx, retired+segment(index)+suffix)
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, fmt.Errorf("look for the retirement of %s: %w", index, err)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, false, fmt.Errorf("decode the retirement of %s: %w", index, err)
	}
	return r, true, nil
}
