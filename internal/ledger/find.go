package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"golang.org/x/sync/errgroup"

	"millrace/internal/ledger/lookup"
)

// Name is what a record is looked for by: tenant and id, or document id.
type Name struct {
	Tenant, ID string
	DocID      string
}

// is reports whether a record has the name.
func (n Name) is(r Record) bool {
	if n.DocID != "" {
		return r.DocID == n.DocID
	}
	return r.Tenant == n.Tenant && r.ID == n.ID
}

// hash stands for the name in the index.
func (n Name) hash() uint64 {
	if n.DocID != "" {
		return lookup.Hash("doc", n.DocID)
	}
	return lookup.Hash("id", n.Tenant, n.ID)
}

// names are those of a record. One that no collector wrote has none.
func names(r Record) (hashes []uint64) {
	if r.DocID != "" {
		hashes = append(hashes, Name{DocID: r.DocID}.hash())
	}
	if r.ID != "" {
		hashes = append(hashes, Name{Tenant: r.Tenant, ID: r.ID}.hash())
	}
	return hashes
}

// namesOf are those of the records of an entry, each once.
func namesOf(e Entry) (hashes []uint64) {
	for _, r := range e.Records {
		hashes = append(hashes, names(r)...)
	}
	slices.Sort(hashes)
	return slices.Compact(hashes)
}

// note enters in the index what an entry has.
func (l *Ledger) note(ctx context.Context, place string, e Entry) error {
	hashes := namesOf(e)
	if len(hashes) == 0 {
		return nil
	}
	return l.index.Note(ctx, e.At, place, hashes)
}

// Hit is a record in an entry.
type Hit struct {
	Key    string // of the entry, as Add returned it
	Entry  Entry  // without its records
	Record Record
}

// Finding is what the ledger knows of a name.
type Finding struct {
	Hits []Hit
	More bool // there are others
	// Gaps say what of the ledger was not searched, as operators read it.
	Gaps []string
}

// entriesAtOnce bounds the entries that Find has in memory, of up to some MiB each.
const entriesAtOnce = 4

// Find finds the records of a name, open and done, at most so many. It reads the
// index, and of the ledger only the entries that have them.
func (l *Ledger) Find(ctx context.Context, name Name, most int) (Finding, error) {
	answer, err := l.index.Find(ctx, name.hash(), most)
	if err != nil {
		return Finding{}, err
	}
	hits := make([][]Hit, len(answer.Places))
	reading, within := errgroup.WithContext(ctx)
	reading.SetLimit(entriesAtOnce)
	for n, place := range answer.Places {
		reading.Go(func() (err error) {
			hits[n], err = l.hits(within, open+place, name)
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		return Finding{}, err
	}
	all := slices.Concat(hits...)
	slices.SortStableFunc(all, func(a, b Hit) int { return b.Entry.At.Compare(a.Entry.At) })
	return Finding{Hits: all[:min(len(all), most)], More: answer.More || len(all) > most, Gaps: answer.Gaps}, nil
}

// hits are the records of a name in an entry: none of one that an operator has
// deleted, or that only shares a hash.
func (l *Ledger) hits(ctx context.Context, key string, name Name) (hits []Hit, err error) {
	e, err := l.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	records := e.Records
	e.Records = nil
	for _, r := range records {
		if name.is(r) {
			hits = append(hits, Hit{Key: key, Entry: e, Record: r})
		}
	}
	return hits, nil
}

// MergeIndex merges what was noted of entries since it was called last, so that
// Find reads few objects.
func (l *Ledger) MergeIndex(ctx context.Context) error {
	left, err := l.index.Merge(ctx)
	if err == nil {
		indexSegments.WithLabelValues(l.stream).Set(float64(left.Segments))
		indexNew.WithLabelValues(l.stream).Set(float64(left.New))
	}
	return err
}

// BeginIndex enters that the index knows the whole ledger, if that has no entry
// yet. It reports whether it did, and whether the index knows the whole ledger.
func (l *Ledger) BeginIndex(ctx context.Context) (begun, complete bool, err error) {
	if complete, err = l.index.Complete(ctx); complete || err != nil {
		return false, complete, err
	}
	for _, f := range []Filter{{}, {Done: true}} {
		for _, err := range l.List(ctx, f) {
			return false, false, err
		}
	}
	err = l.index.SetComplete(ctx)
	return err == nil, err == nil, err
}

// RebuildIndex makes the index anew from all entries, of all streams. It calls each
// with the number of those that were read.
func (l *Ledger) RebuildIndex(ctx context.Context, each func(entries int)) error {
	return l.index.Rebuild(ctx, func(yield func([]lookup.Row, error) bool) {
		count := 0
		// Open ones first: one that is resolved meanwhile is among those that are done.
		for _, f := range []Filter{{}, {Done: true}} {
			for rows, err := range l.rows(ctx, f) {
				if !yield(rows, err) || err != nil {
					return
				}
				count++
				each(count)
			}
		}
	})
}

// read is what is in the index about an entry.
type read struct {
	rows []lookup.Row
	err  error
}

// rows reads entries, some at a time, and yields what is in the index about each.
func (l *Ledger) rows(ctx context.Context, f Filter) iter.Seq2[[]lookup.Row, error] {
	return func(yield func([]lookup.Row, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		turns := make(chan chan read, entriesAtOnce) // in the order of the keys
		go func() {
			defer close(turns)
			for key, err := range l.List(ctx, f) {
				turn := make(chan read, 1)
				select {
				case turns <- turn:
				case <-ctx.Done():
					return
				}
				if err != nil {
					turn <- read{err: err}
					return
				}
				go func() {
					rows, err := l.rowsOf(ctx, key)
					turn <- read{rows, err}
				}()
			}
		}()
		for turn := range turns {
			if got := <-turn; !yield(got.rows, got.err) || got.err != nil {
				return
			}
		}
	}
}

func (l *Ledger) rowsOf(ctx context.Context, key string) (rows []lookup.Row, err error) {
	e, err := l.Get(ctx, key)
	if errors.Is(err, fs.ErrNotExist) { // it was deleted since it was listed
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read an entry for the index: %w", err)
	}
	place, err := placeOf(key)
	if err != nil {
		return nil, err
	}
	for _, hash := range namesOf(e) {
		rows = append(rows, lookup.Row{Hash: hash, Place: place})
	}
	return rows, nil
}
