package backup

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"
)

// Generation is what is wanted of an earlier stream of a name: one that is deleted
// and made anew counts its shards and sequence numbers from the beginning.
type Generation struct {
	Created time.Time         `json:"created"`
	Shards  map[string][]Span `json:"shards"`
}

// OfStream returns the wanted stretches of the shards of the stream that was made at a
// time, to be changed: Shards, or those of one that is earlier.
func (w *Window) OfStream(created time.Time) map[string][]Span {
	if created.Unix() == w.Created.Unix() {
		return w.Shards
	}
	for _, g := range w.Earlier {
		if g.Created.Unix() == created.Unix() {
			return g.Shards
		}
	}
	g := Generation{Created: created, Shards: map[string][]Span{}}
	w.Earlier = append(w.Earlier, g)
	return g.Shards
}

// Spans returns the wanted stretches of a shard, also of an earlier stream, if they
// are known.
func (w Window) Spans(shard Shard) ([]Span, bool) {
	if shard.Stream != w.Stream {
		return nil, false
	}
	if shard.Created.Unix() == w.Created.Unix() {
		spans, known := w.Shards[shard.ID]
		return spans, known
	}
	for _, g := range w.Earlier {
		if g.Created.Unix() == shard.Created.Unix() {
			spans, known := g.Shards[shard.ID]
			return spans, known
		}
	}
	return nil, false
}

// Chains returns the shards of the window's stream, and of earlier ones of its name,
// of which a backup has objects that are wanted.
func Chains(ctx context.Context, store Objects, w Window) ([]Shard, error) {
	found := map[Shard]bool{}
	for object, err := range List(ctx, store, w) {
		if err != nil {
			return nil, err
		}
		if object.ours && object.name.Shard.Stream == w.Stream {
			found[object.name.Shard] = true
		}
	}
	return slices.SortedFunc(maps.Keys(found), func(a, b Shard) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	}), nil
}
