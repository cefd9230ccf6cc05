package activities

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"millrace/internal/ledger"
	"millrace/internal/telemetry"
)

// listsKept bounds the lists of sparse entries that are kept, of up to 6 MiB
// each: look-ups go along a shard, and come back to few of them.
const listsKept = 16

// buried knows which records of shards are in the open ledger. It reads the keys
// of a shard's entries when it is asked first, and the list of a sparse entry
// when it is asked for a record in its range.
type buried struct {
	ledger *ledger.Ledger
	stream StreamID

	mu     sync.Mutex
	shards map[string]graves
	lists  map[string][]string // positions of sparse entries, by key
}

// graves are those of a shard.
type graves struct {
	given  stretches // in entries of their own, in order
	sparse clearings // entries that have some records of a range
	held   stretches // in copies of what a ProcessBatch is at work on
}

// insisting repeats a look until it succeeds; false if whoever asks is stopped.
type insisting func(look func(context.Context) error) bool

// given reports whether a record is in an open entry, given up. That is not
// known if whoever asks was stopped before.
func (b *buried) given(insist insisting, shard, sequence string) (there, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, known := b.of(insist, shard, sequence)
	at, found := slices.BinarySearchFunc(g.given, sequence, func(r telemetry.Range, sequence string) int {
		return telemetry.CompareSequence(r.First, sequence)
	})
	if found || at > 0 && contains(g.given[at-1], sequence) || !known {
		return known, known
	}
	for key := range g.sparse.around(sequence) {
		if there, known = b.isListed(insist, key, sequence); there || !known {
			return there, known
		}
	}
	return false, true
}

// holds is given, or in an open copy: that stays until its ProcessBatch has
// given the record up, or indexed it.
func (b *buried) holds(insist insisting, shard, sequence string) (there, known bool) {
	if there, known = b.given(insist, shard, sequence); there || !known {
		return there, known
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	g, known := b.of(insist, shard, sequence)
	return g.held.has(sequence), known
}

// isListed reports whether a sparse entry has a record.
func (b *buried) isListed(insist insisting, key, sequence string) (has, known bool) {
	list, known := b.lists[key]
	if !known {
		read := func(ctx context.Context) (err error) {
			list, err = b.ledger.Positions(ctx, key)
			return err
		}
		if !insist(read) {
			return false, false
		}
		b.keep(key, list)
	}
	_, has = slices.BinarySearchFunc(list, sequence, telemetry.CompareSequence)
	return has, true
}

// keep keeps a list, and lets go of another one where there are too many.
func (b *buried) keep(key string, list []string) {
	if b.lists == nil {
		b.lists = map[string][]string{}
	}
	for other := range b.lists {
		if len(b.lists) < listsKept {
			break
		}
		delete(b.lists, other)
	}
	b.lists[key] = list
}

// of reads what is in the open ledger of a shard, when it is asked first.
func (b *buried) of(insist insisting, shard, sequence string) (g graves, known bool) {
	if shard == "" || sequence == "" {
		return g, true
	}
	if g, known = b.shards[shard]; known {
		return g, true
	}
	load := func(ctx context.Context) (err error) {
		g, err = b.load(ctx, shard)
		return err
	}
	if !insist(load) {
		return graves{}, false
	}
	if b.shards == nil {
		b.shards = map[string]graves{}
	}
	b.shards[shard] = g
	return g, true
}

func (b *buried) load(ctx context.Context, shard string) (g graves, err error) {
	for key, err := range b.ledger.List(ctx, ledger.Filter{Stream: b.stream.Name, Shard: shard}) {
		if err != nil {
			return graves{}, err
		}
		if r, ok := ledger.RangeOf(key, b.stream.Created); ok {
			g.given = append(g.given, r)
		} else if r, ok := ledger.ManyOf(key, b.stream.Created); ok {
			g.sparse = append(g.sparse, clearing{Range: r, key: key})
		} else if r, ok := ledger.CopyOf(key, b.stream.Created); ok {
			g.held = append(g.held, r)
		}
	}
	slices.SortFunc(g.given, func(x, y telemetry.Range) int {
		return cmp.Or(telemetry.CompareSequence(x.First, y.First), telemetry.CompareSequence(x.Last, y.Last))
	})
	g.sparse.sort()
	return g, nil
}
