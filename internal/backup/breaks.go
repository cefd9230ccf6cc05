package backup

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"millrace/internal/telemetry"
)

// Break is where a chain does not go on.
type Break struct {
	Shard  string
	Key    string // of the object before which something is missing
	Behind string // the last record before that; empty: none is known
	Reason string

	until string // the last record that is missing, or the first that is not
}

// Breaks follows the chains through the objects of a window, in the order of
// Follow, and finds where records of the window are missing between them.
// Each object of ours names the record that it goes on behind, which costs a
// HEAD for each, some of them at once: ten minutes for a million. Firehose's
// name none. Where a chain begins nothing is missing, unless the window begins
// before. It belongs to one goroutine.
type Breaks struct {
	store  Described
	window Window
	held   []Object
	links  map[Shard]*link
	found  []Break
}

// linksHeld is how many objects are asked together.
const linksHeld = 16 * metasAtOnce

// link is how far a chain goes.
type link struct {
	last   string
	newest time.Time
	silent bool // its last object does not say where it ends
}

// FindBreaks looks for breaks of the chains in store.
func FindBreaks(store Described, window Window) *Breaks {
	return &Breaks{store: store, window: window, links: map[Shard]*link{}}
}

// Add takes in the next object.
func (b *Breaks) Add(ctx context.Context, o Object) error {
	if !o.ours {
		return nil
	}
	if b.held = append(b.held, o); len(b.held) < linksHeld {
		return nil
	}
	return b.look(ctx)
}

// End returns what was found.
func (b *Breaks) End(ctx context.Context) ([]Break, error) {
	err := b.look(ctx)
	return b.found, err
}

func (b *Breaks) look(ctx context.Context) error {
	metas, err := describe(ctx, b.store, b.held)
	if err != nil {
		return err
	}
	for n, o := range b.held {
		b.follow(o, metas[n])
	}
	b.held = b.held[:0]
	return nil
}

func (b *Breaks) follow(o Object, m described) {
	if errors.Is(m.unsaid, fs.ErrNotExist) {
		return // it was deleted meanwhile: the next one says what is missing
	}
	before := b.links[o.name.Shard]
	if m.unsaid != nil {
		b.links[o.name.Shard] = &link{silent: true}
		return
	}
	if broken := b.between(before, o, m.Meta); broken.Reason != "" && (before == nil || !before.silent) {
		b.found = append(b.found, broken)
	}
	if before == nil || before.silent || telemetry.ComparePositions(m.Last, before.last) > 0 {
		b.links[o.name.Shard] = &link{last: m.Last, newest: m.Newest}
	}
}

// between says what is missing before an object. Its Reason is empty if nothing
// is.
func (b *Breaks) between(before *link, o Object, m Meta) Break {
	found := Break{Shard: o.name.Shard.ID, Key: o.Key, until: m.After}
	covered := b.window.From
	if before != nil {
		found.Behind, covered = before.last, before.newest
	}
	if before != nil && !before.silent && telemetry.ComparePositions(o.name.First, before.last) <= 0 {
		return found // its writer did not know what another one had written
	}
	spans, known := b.window.Spans(o.name.Shard)
	reason := "what it goes on behind is not in the backup any more"
	switch {
	case m.After == AfterGap:
		reason, found.until = "the stream had trimmed what came before it, before it was backed up", o.name.First
	case m.After == "":
		// As much as every stream keeps was still there when it was written.
		since := o.modified.Add(-leastRetention)
		if m.Oldest.Before(since) {
			since = m.Oldest
		}
		if !since.After(covered) || before == nil && !slices.ContainsFunc(spans, func(s Span) bool { return s.After != "" }) {
			return found
		}
		reason, found.until = "the backup begins with it", o.name.First
	case before == nil && !known && !b.window.From.IsZero():
		return found // what it goes on behind may have arrived before the window
	case telemetry.ComparePositions(m.After, found.Behind) <= 0:
		return found
	}
	if known && slices.ContainsFunc(spans, func(s Span) bool { return s.overlaps(found.Behind, found.until) }) ||
		!known && !m.Oldest.Before(b.window.From) && (before == nil || b.window.To.IsZero() || !before.newest.After(b.window.To)) {
		found.Reason = reason
	}
	return found
}

// overlaps reports whether a record behind one and up to another may be in the
// stretch.
func (s Span) overlaps(behind, until string) bool {
	if s.After != "" && telemetry.ComparePositions(s.After, behind) > 0 {
		behind = s.After
	}
	if s.Until != "" && telemetry.ComparePositions(s.Until, until) < 0 {
		until = s.Until
	}
	return telemetry.ComparePositions(behind, until) < 0
}
