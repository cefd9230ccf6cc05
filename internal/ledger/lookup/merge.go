package lookup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"math"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

const (
	// fan is how many segments of one size are merged into one.
	fan = 4
	// smallest is the size in bytes below which segments count as of one size, and
	// full that from which on they are merged no more: four of them fit into a
	// worker's memory several times.
	smallest, full = 64 << 10, 4 << 20
)

// State is what Merge has left.
type State struct {
	New      int // segments of one entry: of those that could not be read, or are noted meanwhile
	Segments int
}

// Merge makes one segment of the new ones, and one of each fan of about the same
// size. What it leaves is bounded: three segments of each power of four from
// smallest to full, and one for each full bytes or more. To cancel it, or to run it
// twice at a time, does no harm.
func (x *Index) Merge(ctx context.Context) (State, error) {
	damaged := map[string]bool{}
	for {
		keys, _, err := x.list(ctx, newPrefix, mostNew)
		if err != nil {
			return State{}, err
		}
		merged, err := x.merge(ctx, keys, damaged)
		if err != nil {
			return State{}, err
		}
		if merged == 0 {
			break
		}
	}
	for {
		keys, _, err := x.list(ctx, segmentPrefix, 0)
		if err != nil {
			return State{}, err
		}
		chosen := alike(keys, damaged)
		if chosen == nil {
			left, _, err := x.list(ctx, newPrefix, mostNew)
			return State{New: len(left), Segments: len(keys)}, err
		}
		if _, err := x.merge(ctx, chosen, damaged); err != nil {
			return State{}, err
		}
	}
}

// alike chooses segments that are to be merged; nil, if none are.
func alike(keys []string, damaged map[string]bool) []string {
	classes := map[int][]string{}
	for _, key := range keys {
		size, ok := sizeOf(key)
		if !ok || size >= full || damaged[key] {
			continue
		}
		class := 0
		if size > smallest {
			class = 1 + int(math.Log2(float64(size)/smallest)/math.Log2(fan))
		}
		if classes[class] = append(classes[class], key); len(classes[class]) == fan {
			return classes[class]
		}
	}
	return nil
}

// merge makes one segment of several and then deletes those. It leaves those that
// are damaged, adds them to that list, and returns how many it has merged.
func (x *Index) merge(ctx context.Context, keys []string, damaged map[string]bool) (merged int, err error) {
	var mu sync.Mutex
	var rows []Row
	var read []string
	reading, within := errgroup.WithContext(ctx)
	reading.SetLimit(atOnce)
	for _, key := range slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return damaged[key] }) {
		reading.Go(func() error {
			has, err := x.rows(within, key)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, errDamaged):
				damaged[key] = true
				slog.ErrorContext(ctx, "an object of the ledger's index is damaged: rebuild the index", "key", key)
			case errors.Is(err, fs.ErrNotExist): // another process has merged it
			case err != nil:
				return fmt.Errorf("read %s: %w", key, err)
			default:
				rows, read = append(rows, has...), append(read, key)
			}
			return nil
		})
	}
	if err := reading.Wait(); err != nil {
		return 0, fmt.Errorf("merge the ledger's index: %w", err)
	}
	if len(read) == 0 {
		return 0, nil
	}
	into, err := x.write(ctx, rows)
	if err != nil {
		return 0, err
	}
	return len(read), x.remove(ctx, read, into)
}

func (x *Index) rows(ctx context.Context, key string) ([]Row, error) {
	s, err := x.openWhole(ctx, key)
	if err != nil {
		return nil, err
	}
	return s.all(ctx)
}

// write writes a segment under a name that follows from its content.
func (x *Index) write(ctx context.Context, rows []Row) (key string, err error) {
	body := encode(rows)
	sum := sha256.Sum256(body)
	key = fmt.Sprintf("%s%s-%d", segmentPrefix, hex.EncodeToString(sum[:16]), len(body))
	if err := x.store.Put(ctx, key, body); err != nil {
		return "", fmt.Errorf("write a segment of the ledger's index: %w", err)
	}
	return key, nil
}

// remove deletes segments that another one has replaced.
func (x *Index) remove(ctx context.Context, keys []string, but ...string) error {
	kept := map[string]bool{}
	for _, key := range but {
		kept[key] = true
	}
	deleting, within := errgroup.WithContext(ctx)
	deleting.SetLimit(atOnce)
	for _, key := range keys {
		if kept[key] { // it says the same
			continue
		}
		deleting.Go(func() error {
			if err := x.store.Delete(within, key); err != nil {
				return fmt.Errorf("delete a merged segment of the ledger's index: %w", err)
			}
			return nil
		})
	}
	return deleting.Wait()
}

// rebuiltRows bounds the rows that Rebuild writes into one segment: they are in
// memory.
const rebuiltRows = 200_000

// Rebuild makes the index anew from all rows of the ledger, and then deletes what
// was there when it began. What is noted meanwhile stays. Until it has ended, and
// if it ends early, the index is as good as it was.
func (x *Index) Rebuild(ctx context.Context, ledger iter.Seq2[[]Row, error]) error {
	old, _, err := x.list(ctx, segmentPrefix, 0)
	if err != nil {
		return err
	}
	notes, _, err := x.list(ctx, newPrefix, 0)
	if err != nil {
		return err
	}
	var rows []Row
	var written []string
	flush := func() error {
		key, err := x.write(ctx, rows)
		written, rows = append(written, key), rows[:0]
		return err
	}
	for some, err := range ledger {
		if err != nil {
			return fmt.Errorf("rebuild the ledger's index: %w", err)
		}
		if rows = append(rows, some...); len(rows) >= rebuiltRows {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(rows) > 0 {
		if err := flush(); err != nil {
			return err
		}
	}
	if err := x.removeDamaged(ctx, notes); err != nil {
		return err
	}
	if err := x.remove(ctx, old, written...); err != nil {
		return err
	}
	return x.SetComplete(ctx)
}

// removeDamaged deletes notes that cannot be read. Their entries were there before
// them, so the ledger that was read since has those.
func (x *Index) removeDamaged(ctx context.Context, notes []string) error {
	for _, key := range notes {
		if _, err := x.rows(ctx, key); !errors.Is(err, errDamaged) {
			continue
		}
		if err := x.store.Delete(ctx, key); err != nil {
			return fmt.Errorf("delete a damaged note of the ledger's index: %w", err)
		}
	}
	return nil
}
