package lambda

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// function is the code that Lambda runs, in the one instance that a shard has
// at a time.
type function struct {
	*Consumer
	bulk    sink.Bulk
	ids     []telemetry.DocID // of the bulk
	unsaved int               // records of the last batch that did not get into the index
}

// errUnsaved says that records of a batch were not saved.
var errUnsaved = errors.New("unable to process records")

// invoke indexes a batch in one bulk request, skips what it has indexed
// before, remembers what is saved, and fails if anything is not.
func (f *function) invoke(ctx context.Context, batch []stream.Record) error {
	f.bulk.Reset()
	f.ids, f.unsaved = f.ids[:0], 0
	now := time.Now()
	for i := range batch {
		record, err := telemetry.Parse(batch[i].Data)
		if err != nil {
			f.unsaved++
			continue
		}
		if f.knows(record.DocID) {
			f.count(func(s *Stats) { s.Duplicates++ })
			continue
		}
		f.bulk.Add(record, now)
		f.ids = append(f.ids, record.DocID)
	}
	if f.bulk.Len() > 0 {
		if err := f.save(ctx); err != nil {
			return err
		}
	}
	if f.unsaved > 0 {
		return fmt.Errorf("%w: %d", errUnsaved, f.unsaved)
	}
	return nil
}

// knows reports whether a document was indexed, where that is remembered.
func (f *function) knows(id telemetry.DocID) bool {
	if f.seen == nil {
		return false
	}
	_, known := f.seen.Seen(id)
	return known
}

// save sends the bulk and looks at what became of each document.
func (f *function) save(ctx context.Context) error {
	var generation uint64
	if f.seen != nil {
		generation = f.seen.Generation()
	}
	result := f.client.Do(ctx, &f.bulk)
	if result.Class != outcome.Indexed {
		f.unsaved += f.bulk.Len()
		return fmt.Errorf("%w: %s", errUnsaved, result.Error.Type)
	}
	items := result.Items
	for position, id := range f.ids {
		if len(items) > 0 && items[0].Position == position {
			saved := items[0].Class == outcome.Indexed
			items = items[1:]
			if !saved {
				f.unsaved++
				continue
			}
		}
		if f.seen != nil {
			f.seen.Mark(generation, id, 0) // as the seed did, which compared nothing
		}
	}
	return nil
}
