package activities

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"millrace/internal/ledger"
	"millrace/internal/telemetry"
)

// buried knows which stretches of shards are in the open ledger. It reads the
// keys of a shard's entries when it is asked first.
type buried struct {
	ledger *ledger.Ledger
	stream StreamID

	mu     sync.Mutex
	shards map[string]graves
}

// graves are those of a shard.
type graves struct {
	given stretches // in entries of their own, in order
	held  stretches // in copies of what a ProcessBatch is at work on
}

// insisting repeats a look until it succeeds; false if whoever asks is stopped.
type insisting func(look func(context.Context) error) bool

// given reports whether a record is in an open entry, given up. That is not
// known if whoever asks was stopped before.
func (b *buried) given(insist insisting, shard, sequence string) (there, known bool) {
	g, known := b.of(insist, shard, sequence)
	at, found := slices.BinarySearchFunc(g.given, sequence, func(r telemetry.Range, sequence string) int {
		return telemetry.CompareSequence(r.First, sequence)
	})
	return found || at > 0 && contains(g.given[at-1], sequence), known
}

// holds is given, or in an open copy: that stays until its ProcessBatch has
// given the record up, or indexed it.
func (b *buried) holds(insist insisting, shard, sequence string) (there, known bool) {
	if there, known = b.given(insist, shard, sequence); there || !known {
		return there, known
	}
	g, known := b.of(insist, shard, sequence)
	return g.held.has(sequence), known
}

// of reads what is in the open ledger of a shard, when it is asked first.
func (b *buried) of(insist insisting, shard, sequence string) (g graves, known bool) {
	if shard == "" || sequence == "" {
		return g, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
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
		} else if r, ok := ledger.CopyOf(key, b.stream.Created); ok {
			g.held = append(g.held, r)
		}
	}
	slices.SortFunc(g.given, func(x, y telemetry.Range) int {
		return cmp.Or(telemetry.CompareSequence(x.First, y.First), telemetry.CompareSequence(x.Last, y.Last))
	})
	return g, nil
}
