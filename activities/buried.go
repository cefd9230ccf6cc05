package activities

import (
	"context"
	"slices"
	"sync"

	"millrace/internal/ledger"
	"millrace/internal/telemetry"
)

// positionsKept bounds the sequence numbers that are kept, of some 70 bytes each:
// look-ups go along a shard, and come back to few entries.
const positionsKept = 1 << 20

// buried knows which records of shards are in the open ledger. It reads the keys
// of a shard's entries when it is asked first, and an entry when it is asked for a
// record in its range. A record that came home from an entry, while others of it
// were refused again, is no longer buried: if it is gone a recovery brings it back,
// and if it is refused it is buried anew.
type buried struct {
	ledger *ledger.Ledger
	stream telemetry.StreamID

	mu     sync.Mutex
	shards map[string]graves
	lists  map[string][]string // positions of entries, by key: see graves
	kept   int                 // in lists
}

// graves are those of a shard.
type graves struct {
	runs   clearings // entries of neighbours; listed are those that came home
	sparse clearings // entries that have some records of a range; listed are those that did not
	held   stretches // in copies of what a ProcessBatch is at work on
}

// insisting repeats a look until it succeeds; false if the caller is stopped.
type insisting func(look func(context.Context) error) bool

// given reports whether a record is in an open entry, given up. That is not
// known if the caller was stopped before.
func (b *buried) given(insist insisting, shard, sequence string) (there, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, known := b.of(insist, shard, sequence)
	if !known {
		return false, false
	}
	for key := range g.runs.around(sequence) {
		if home, known := b.isListed(insist, key, sequence, cameHome); !home || !known {
			return known, known
		}
	}
	for key := range g.sparse.around(sequence) {
		if there, known = b.isListed(insist, key, sequence, stays); there || !known {
			return there, known
		}
	}
	return false, true
}

// stays is the opposite of cameHome.
func stays(e ledger.Entry, r ledger.Record) bool { return !cameHome(e, r) }

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

// isListed reports whether an entry has a record, among those that are chosen.
func (b *buried) isListed(insist insisting, key, sequence string, choose func(ledger.Entry, ledger.Record) bool) (has, known bool) {
	list, known := b.lists[key]
	if !known {
		read := func(ctx context.Context) (err error) {
			list, err = b.ledger.PositionsOf(ctx, key, choose)
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

// keep keeps a list, and lets go of others where there are too many.
func (b *buried) keep(key string, list []string) {
	if b.lists == nil {
		b.lists = map[string][]string{}
	}
	b.kept += 1 + len(list)
	for other, has := range b.lists {
		if b.kept <= positionsKept {
			break
		}
		delete(b.lists, other)
		b.kept -= 1 + len(has)
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
			g.runs = append(g.runs, clearing{Range: r, key: key})
		} else if r, ok := ledger.ManyOf(key, b.stream.Created); ok {
			g.sparse = append(g.sparse, clearing{Range: r, key: key})
		} else if r, ok := ledger.CopyOf(key, b.stream.Created); ok {
			g.held = append(g.held, r)
		}
	}
	g.runs.sort()
	g.sparse.sort()
	return g, nil
}
