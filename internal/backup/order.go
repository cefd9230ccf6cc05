package backup

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"millrace/internal/telemetry"
)

// inChains yields the objects of the days that a window needs, each chain in its
// order. Arrivals are not quite in the order of sequence numbers, so that at the
// turn of an hour a link may lie below an earlier hour than the one before it,
// and at midnight below an earlier day: the last hour of a day comes with the
// next one.
func inChains(ctx context.Context, store Objects, w Window) iter.Seq2[[]Object, error] {
	return func(yield func([]Object, error) bool) {
		var held []Object
		for listed, err := range days(ctx, store, w) {
			if err != nil {
				yield(nil, err)
				return
			}
			objects := append(held, listed.objects...)
			intoChains(objects)
			last, _ := slices.BinarySearchFunc(objects, listed.at.Add(day-time.Hour), func(o Object, hour time.Time) int { return o.turn.Compare(hour) })
			held = slices.Clone(objects[last:])
			if !yield(objects[:last], nil) {
				return
			}
		}
		yield(held, nil)
	}
}

// intoChains sorts objects: each chain in its order, and the chains beside each
// other by their hours.
func intoChains(objects []Object) {
	slices.SortFunc(objects, func(a, b Object) int { return cmp.Or(chains(a, b), a.hour.Compare(b.hour), cmp.Compare(a.Key, b.Key)) })
	for n := range objects {
		o := &objects[n]
		o.turn = o.hour
		if n == 0 || !o.ours {
			continue
		}
		if before := objects[n-1]; before.ours && before.name.Shard == o.name.Shard && before.turn.After(o.turn) {
			o.turn = before.turn
		}
	}
	slices.SortFunc(objects, order)
}

// chains is the order of links, chain by chain.
func chains(a, b Object) int {
	return cmp.Or(cmp.Compare(a.name.Shard.Stream, b.name.Shard.Stream), a.name.Shard.Created.Compare(b.name.Shard.Created),
		cmp.Compare(a.name.Shard.ID, b.name.Shard.ID), telemetry.ComparePositions(a.name.First, b.name.First))
}

// order is that of hours, and within one that of chains.
func order(a, b Object) int {
	return cmp.Or(a.turn.Compare(b.turn), chains(a, b), cmp.Compare(a.Key, b.Key))
}
