package deadletter

import (
	"context"
	"slices"
	"sync"

	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/telemetry"
)

// positionsKept bounds the sequence numbers that are kept, of some 70 bytes each:
// look-ups go along a shard, and come back to few entries.
const positionsKept = 1 << 20

// Open knows which records of shards are in the open ledger. It reads the keys
// of a shard's entries when it is asked first, and an entry when it is asked for a
// record in its range. A record that came home from an entry, while others of it
// were refused again, is no longer a dead letter: if it is gone a recovery brings it
// back, and if it is refused again it becomes one anew.
type Open struct {
	ledger *ledger.Ledger
	stream telemetry.StreamID

	mu     sync.Mutex
	shards map[string]shardEntries
	lists  map[string][]string // positions of entries, by key: see shardEntries
	kept   int                 // in lists
}

// NewOpen returns an Open of a stream's shards.
func NewOpen(l *ledger.Ledger, stream telemetry.StreamID) *Open {
	return &Open{ledger: l, stream: stream}
}

// shardEntries are those of a shard.
type shardEntries struct {
	runs   EntryRanges      // entries of neighbours; listed are those that came home
	sparse EntryRanges      // entries that have some records of a range; listed are those that did not
	held   telemetry.Ranges // in copies of what a ProcessBatch is at work on
	lost   telemetry.Ranges // that were trimmed before they were read
}

// Has reports whether a record is in an open entry, given up. That is not
// known if the caller was stopped before.
func (o *Open) Has(call *longcall.Call, shard, sequence string) (there, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	g, known := o.of(call, shard, sequence)
	if !known {
		return false, false
	}
	for key := range g.runs.Around(sequence) {
		if home, known := o.isListed(call, key, sequence, isIndexed); !home || !known {
			return known, known
		}
	}
	for key := range g.sparse.Around(sequence) {
		if there, known = o.isListed(call, key, sequence, stays); there || !known {
			return there, known
		}
	}
	return false, true
}

// Reading is what a call waits for while the ledger cannot be read, as operators read
// it.
const Reading = "read the ledger"

// retry repeats a look until it succeeds; false if the call was stopped before that.
func retry(call *longcall.Call, look func(context.Context) error) bool {
	return call.Retry(Reading, func() error { return look(call.Work) })
}

func isIndexed(e ledger.Entry, r ledger.Record) bool { return e.IsIndexed(r) }

func stays(e ledger.Entry, r ledger.Record) bool { return !e.IsIndexed(r) }

// HasOrHolds is Has, or in an open copy: that stays until its ProcessBatch has
// given the record up, or indexed it.
func (o *Open) HasOrHolds(call *longcall.Call, shard, sequence string) (there, known bool) {
	if there, known = o.Has(call, shard, sequence); there || !known {
		return there, known
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	g, known := o.of(call, shard, sequence)
	return g.held.Has(sequence), known
}

// HasInAnyForm is HasOrHolds, or in an open entry of a possible loss, which has a range
// alone.
func (o *Open) HasInAnyForm(call *longcall.Call, shard, sequence string) (there, known bool) {
	if there, known = o.HasOrHolds(call, shard, sequence); there || !known {
		return there, known
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	g, known := o.of(call, shard, sequence)
	return g.lost.Has(sequence), known
}

// isListed reports whether an entry has a record, among those that are chosen.
func (o *Open) isListed(call *longcall.Call, key, sequence string, choose func(ledger.Entry, ledger.Record) bool) (has, known bool) {
	list, known := o.lists[key]
	if !known {
		read := func(ctx context.Context) (err error) {
			list, err = o.ledger.PositionsOf(ctx, key, choose)
			return err
		}
		if !retry(call, read) {
			return false, false
		}
		o.keep(key, list)
	}
	_, has = slices.BinarySearchFunc(list, sequence, telemetry.ComparePositions)
	return has, true
}

// keep keeps a list, and lets go of others where there are too many.
func (o *Open) keep(key string, list []string) {
	if o.lists == nil {
		o.lists = map[string][]string{}
	}
	o.kept += 1 + len(list)
	for other, has := range o.lists {
		if o.kept <= positionsKept {
			break
		}
		delete(o.lists, other)
		o.kept -= 1 + len(has)
	}
	o.lists[key] = list
}

// of reads what is in the open ledger of a shard, when it is asked first.
func (o *Open) of(call *longcall.Call, shard, sequence string) (g shardEntries, known bool) {
	if shard == "" || sequence == "" {
		return g, true
	}
	if g, known = o.shards[shard]; known {
		return g, true
	}
	load := func(ctx context.Context) (err error) {
		g, err = o.load(ctx, shard)
		return err
	}
	if !retry(call, load) {
		return shardEntries{}, false
	}
	if o.shards == nil {
		o.shards = map[string]shardEntries{}
	}
	o.shards[shard] = g
	return g, true
}

func (o *Open) load(ctx context.Context, shard string) (g shardEntries, err error) {
	for key, err := range o.ledger.List(ctx, ledger.Filter{Stream: o.stream.Name, Shard: shard}) {
		if err != nil {
			return shardEntries{}, err
		}
		if r, ok := ledger.RangeOf(key, o.stream.Created); ok {
			g.runs.Add(r, key)
		} else if r, ok := ledger.ManyOf(key, o.stream.Created); ok {
			g.sparse.Add(r, key)
		} else if r, ok := ledger.CopyOf(key, o.stream.Created); ok {
			g.held = append(g.held, r)
		} else if r, ok := ledger.LossOf(key, o.stream.Created); ok {
			g.lost = append(g.lost, r)
		}
	}
	g.runs.Sort()
	g.sparse.Sort()
	return g, nil
}
