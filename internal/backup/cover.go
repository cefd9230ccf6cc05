package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/telemetry"
)

// Position is how far the backup of a shard of the stream has come, by the word
// of who writes it.
type Position struct {
	telemetry.Checkpoint // zero: it is not backed up
	// Child: it came from other shards by resharding.
	Child bool
}

const (
	// leastRetention is what every stream keeps: so much had not been trimmed
	// yet when the first object of a chain was written.
	leastRetention = 24 * time.Hour
	// metasAtOnce bounds the objects that are asked at the same time.
	metasAtOnce = 16
)

// Lacks says what of all that arrived in a stream between two times is not
// certain to be in its backup, which is in store and ends (below EndsPrefix);
// nothing, if all of it is. It goes by the
// objects: each names the record that it goes on behind, so that one which is
// missing shows, and so do records that were trimmed unread. positions are
// those of the shards that the stream lists; of any other of its shards, and of
// those of an earlier stream of its name, the chain must have come to its end.
func Lacks(ctx context.Context, store, ends Described, stream string, created time.Time, positions map[string]Position, from, to time.Time) (what string, err error) {
	if from.IsZero() || len(positions) == 0 {
		return "it is unknown since when, or of which shards", nil
	}
	position := func(shard Shard) (Position, bool) {
		p, listed := positions[shard.ID]
		return p, listed && shard.Created.Unix() == created.Unix()
	}
	extents, err := expected(ctx, ends, stream, created, positions, from)
	if err != nil {
		return "", err
	}
	window := Window{From: from}
	for objects, err := range inChains(ctx, store, window) {
		if err != nil {
			return "", err
		}
		objects = slices.DeleteFunc(objects, func(o Object) bool {
			e := extents[o.name.Shard]
			return !o.ours || o.name.Shard.Stream != stream || e != nil && e.beyond
		})
		metas, err := describe(ctx, store, objects)
		if err != nil {
			return "", err
		}
		for n, o := range objects {
			e := extents[o.name.Shard]
			if e == nil {
				e = &extent{}
				extents[o.name.Shard] = e
			}
			at, listed := position(o.name.Shard)
			e.add(o, metas[n], listed && at.Child, to)
		}
		if enough(extents) {
			break
		}
	}
	if err := anchor(ctx, store, extents, window.Since().UTC().Truncate(day).Add(-day)); err != nil {
		return "", err
	}
	for shard, e := range extents {
		at, listed := position(shard)
		if what, err := e.lacks(ctx, ends, shard, at, listed, from, to); what != "" || err != nil {
			return what, err
		}
	}
	return "", nil
}

// expected are the chains that there must be, whether or not an object of them
// is left: of the shards that the stream lists, and of those that came to their
// end after a time.
func expected(ctx context.Context, ends Described, stream string, created time.Time, positions map[string]Position, from time.Time) (map[Shard]*extent, error) {
	extents := map[Shard]*extent{}
	for id, at := range positions {
		e := &extent{behind: at.Sequence}
		if at.Closed && at.ReadUpTo.Before(from) { // drained: nothing came any more
			e = &extent{beyond: true}
		}
		extents[Shard{stream, time.Unix(created.Unix(), 0).UTC(), id}] = e
	}
	for end, err := range ends.List(ctx, stream+"-") {
		if err != nil {
			return nil, fmt.Errorf("see which shards the backup has all of: %w", err)
		}
		shard, _, ok := parseName(end.Key)
		if !ok || shard.Stream != stream || extents[shard] != nil || end.Modified.Before(from) {
			continue
		}
		text, err := ends.Meta(ctx, end.Key)
		if err != nil {
			return nil, fmt.Errorf("see whether the backup of shard %s is complete: %w", shard.ID, err)
		}
		extents[shard] = &extent{behind: text[metaLast]}
	}
	return extents, nil
}

// anchor looks, from a day on back, for what the chains go on behind: of one
// whose objects were deleted, that is not there.
func anchor(ctx context.Context, store Described, extents map[Shard]*extent, to time.Time) error {
	wanted := map[Shard]bool{}
	for shard, e := range extents {
		if e.behind != "" {
			wanted[shard] = true
		}
	}
	found, err := latest(ctx, store, wanted, time.Time{}, to)
	if err != nil {
		return err
	}
	metas, err := describe(ctx, store, slices.Collect(maps.Values(found)))
	if err != nil {
		return err
	}
	for _, m := range metas {
		e := extents[m.shard]
		if e.began && m.Last == e.behind {
			e.since = time.Time{}
		}
		if !e.began {
			e.last = m.Last
		}
	}
	return nil
}

// enough reports whether all chains go on behind what is asked about.
func enough(extents map[Shard]*extent) bool {
	for _, e := range extents {
		if !e.beyond {
			return false
		}
	}
	return true
}

func notCome(shard string, to time.Time) string {
	return fmt.Sprintf("the backup of shard %s is not known to have come to %s", shard, to.UTC().Format(time.RFC3339))
}

// described is what an object says of itself.
type described struct {
	Meta
	shard  Shard
	unsaid error // why it says nothing
}

func describe(ctx context.Context, store Described, objects []Object) ([]described, error) {
	metas := make([]described, len(objects))
	group, asking := errgroup.WithContext(ctx)
	group.SetLimit(metasAtOnce)
	for n, o := range objects {
		metas[n].shard = o.name.Shard
		group.Go(func() error {
			text, err := store.Meta(asking, o.Key)
			switch {
			case err == nil:
				metas[n].Meta, metas[n].unsaid = ParseMeta(text)
			case errors.Is(err, fs.ErrNotExist):
				metas[n].unsaid = err
			default:
				return fmt.Errorf("see what the backup has: %w", err)
			}
			return nil
		})
	}
	return metas, group.Wait()
}

// extent is what the chain of a shard has without a gap.
type extent struct {
	began  bool
	since  time.Time // all that arrived since then; zero: since before it was looked at
	behind string    // what it goes on behind, which is earlier than what was looked at
	last   string
	beyond bool // it goes on behind the time that is asked about
}

// add takes in the next object of the chain.
func (e *extent) add(o Object, m described, child bool, to time.Time) {
	switch {
	case e.beyond:
		return
	case m.unsaid != nil:
		e.began, e.since, e.behind, e.last = true, to.Add(time.Nanosecond), "", ""
		return
	case m.After == "":
		// What came before may have been trimmed before the backup began; but
		// nothing had come into a shard before it was made.
		if e.since, e.behind = m.Oldest, ""; o.modified.Add(-leastRetention).Before(e.since) {
			e.since = o.modified.Add(-leastRetention)
		}
		if child && !e.began {
			e.since = time.Time{}
		}
	case !e.began && m.After != AfterGap:
		e.since, e.behind = m.Newest, m.After // unless that is found
	case m.After != e.last:
		e.since, e.behind = m.Newest, ""
	}
	e.began, e.last = true, m.Last
	e.beyond = !m.Oldest.Before(to)
}

// lacks says what is not certain to be in the chain.
func (e *extent) lacks(ctx context.Context, ends Described, shard Shard, position Position, listed bool, from, to time.Time) (string, error) {
	if e.since.After(from) {
		return fmt.Sprintf("the backup of shard %s has a gap, or begins, at %s", shard.ID, e.since.UTC().Format(time.RFC3339)), nil
	}
	if e.beyond {
		return "", nil
	}
	if listed && (position.Closed || !position.ReadUpTo.Before(to)) && telemetry.ComparePositions(e.last, position.Sequence) >= 0 {
		return "", nil
	}
	last, ended, err := Ended(ctx, ends, shard)
	if err != nil || ended && last == e.last {
		return "", err
	}
	return notCome(shard.ID, to), nil
}

// Ended reports whether the backup has all of a shard, by what stands in ends
// (below EndsPrefix), and the last sequence number of it.
func Ended(ctx context.Context, ends Described, shard Shard) (last string, ended bool, err error) {
	text, err := ends.Meta(ctx, shard.end())
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("see whether the backup of shard %s is complete: %w", shard.ID, err)
	}
	return text[metaLast], true, nil
}
