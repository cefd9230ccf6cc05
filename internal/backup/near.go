package backup

import (
	"context"
	"fmt"
	"slices"
	"time"

	"millrace/internal/telemetry"
)

// nearReach is how long after it was received a record that Near looks for has
// arrived in the stream. A worker writes an object at least every few minutes.
const nearReach = 10 * time.Minute

// Near lists objects of some shards that may have a record which was received at a
// time and arrived soon after that, the likeliest first, at most so many. It lists one
// or two hours of each shard, and reads nothing.
func Near(ctx context.Context, store Objects, shards []Shard, at time.Time, most int) ([]Object, error) {
	// By how likely they are: of each shard the object that was written next, the one
	// behind it, and the one before, since clocks differ.
	ranks := make([][]Object, 3)
	for _, shard := range shards {
		objects, err := ofShard(ctx, store, shard, at, at.Add(nearReach))
		if err != nil {
			return nil, err
		}
		next := slices.IndexFunc(objects, func(o Object) bool { return !o.modified.Before(at) })
		if next < 0 {
			next = len(objects) - 1 // S3's clock is behind
		}
		for rank, n := range []int{next, next + 1, next - 1} {
			if n >= 0 && n < len(objects) {
				ranks[rank] = append(ranks[rank], objects[n])
			}
		}
	}
	all := slices.Concat(ranks...)
	return all[:min(len(all), most)], nil
}

// ofShard lists the objects of a shard below the hours from one time to another, in
// the order of its chain.
func ofShard(ctx context.Context, store Objects, shard Shard, from, to time.Time) (objects []Object, err error) {
	for hour := from.UTC().Truncate(time.Hour); !hour.After(to); hour = hour.Add(time.Hour) {
		for found, err := range store.List(ctx, shard.folder(hour)) {
			if err != nil {
				return nil, fmt.Errorf("list the backup of %s: %w", shard.ID, err)
			}
			if object, ok := parse(found); ok && object.ours && object.name.Shard == shard {
				objects = append(objects, object)
			}
		}
	}
	slices.SortFunc(objects, func(a, b Object) int { return telemetry.ComparePositions(a.name.First, b.name.First) })
	return objects, nil
}
