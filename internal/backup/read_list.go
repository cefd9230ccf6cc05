package backup

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"time"

	"millrace/internal/archive"
	"millrace/internal/telemetry"
)

// Window says which records are wanted.
type Window struct {
	From time.Time `json:"from,omitzero"` // by arrival; zero: from the first one on
	To   time.Time `json:"to"`
	// Stream and Created tell whose shards Shards are about.
	Stream  string    `json:"stream,omitempty"`
	Created time.Time `json:"created,omitzero"`
	// Shards are the wanted stretches of each shard. Of one that is not named,
	// time alone decides.
	Shards map[string][]Span `json:"shards,omitempty"`
	// Earlier are the wanted stretches of the shards of earlier streams of that
	// name.
	Earlier []Generation `json:"earlier,omitempty"`
	// Reach is how long before From a record of Shards or Earlier may have arrived:
	// an unread one is as old as the stream keeps it.
	Reach time.Duration `json:"reach,omitempty"`
}

// Span is a stretch of a shard, behind After and up to Until; each may be
// empty, for no bound.
type Span struct {
	After string `json:"after,omitempty"`
	Until string `json:"until,omitempty"`
}

// Has reports whether a sequence number is in the stretch.
func (s Span) Has(sequence string) bool {
	return (s.After == "" || telemetry.ComparePositions(sequence, s.After) > 0) &&
		(s.Until == "" || telemetry.ComparePositions(sequence, s.Until) <= 0)
}

// Since is the beginning of the hours that may matter; zero: the backup's.
func (w Window) Since() time.Time {
	if w.From.IsZero() {
		return w.From
	}
	return w.From.Add(-max(w.Reach, firehoseReach) - ClockSkew)
}

// Of returns which records of an object are wanted: of Firehose's, which say
// neither sequence number nor arrival, all.
func (w Window) Of(key string) (wants func(Line) bool) {
	name, ours := ParseKey(key)
	if !ours {
		return func(Line) bool { return true }
	}
	if spans, known := w.Spans(name.Shard); known {
		return func(l Line) bool {
			return slices.ContainsFunc(spans, func(s Span) bool { return s.Has(l.Sequence) })
		}
	}
	return func(l Line) bool { return w.Covers(l.Arrived) }
}

// Covers reports whether a time is in the window.
func (w Window) Covers(at time.Time) bool {
	return !at.Before(w.From) && (w.To.IsZero() || !at.After(w.To))
}

const (
	// firehoseReach is the longest that Firehose buffers, 15 minutes, and some
	// more for what it must try again: so long after the hour in its key may a
	// record of an object have arrived.
	firehoseReach = time.Hour
	day           = 24 * time.Hour

	// ClockSkew is how far apart the clocks of S3, of the stream's servers, of
	// workers and of the cluster may be: NTP keeps them within a second, one that
	// has lost its server drifts by a second or so a day. So far, too, may arrivals
	// be out of the order of sequence numbers.
	ClockSkew = time.Minute
)

// The two layouts: what keys begin with, and how those of a day do.
const (
	ours, oursDay         = "dt=", "dt=2006-01-02/"
	firehose, firehoseDay = "2", "2006/01/02/"
)

// Object is one object of a backup.
type Object struct {
	Key  string `json:"key"` // below the backup's prefix
	Size int64  `json:"size"`
	// Wanted: it may hold records of the window. Else it only belongs to a chain
	// that does.
	Wanted bool `json:"-"`

	hour     time.Time // in which its records arrived, of Firehose's the first
	turn     time.Time // the latest hour of its chain up to it; see inChains
	modified time.Time
	ours     bool
	name     Name
}

// firehoseKey is the layout of Firehose with its default prefix.
var firehoseKey = regexp.MustCompile(`^(\d{4}/\d\d/\d\d/\d\d)/.`)

// parse reads what a key says; ok is false for one of neither layout.
func parse(o archive.Object) (object Object, ok bool) {
	object = Object{Key: o.Key, Size: o.Size, modified: o.Modified}
	if object.name, ok = ParseKey(o.Key); ok {
		object.hour, object.ours = object.name.Hour, true
		return object, true
	}
	m := firehoseKey.FindStringSubmatch(o.Key)
	if m == nil {
		return object, false
	}
	hour, err := time.Parse("2006/01/02/15", m[1])
	object.hour = hour
	return object, err == nil
}

// List yields the objects that may hold records of a window. Those of a chain
// come in its order, the chains beside each other by their hours. It keeps no
// more of them at a time than a day has.
func List(ctx context.Context, store Objects, w Window) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		for object, err := range Follow(ctx, store, w) {
			if (err != nil || object.Wanted) && !yield(object, err) {
				return
			}
		}
	}
}

// Follow is List with those objects between that only tell whether a chain is
// whole: one that a window's edge cuts at the turn of an hour goes on in both
// hours.
func Follow(ctx context.Context, store Objects, w Window) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		l := lister{window: w, open: map[Shard]Object{}, yield: yield}
		for objects, err := range inChains(ctx, store, w) {
			if err != nil {
				yield(Object{}, err)
				return
			}
			for _, object := range objects {
				if !l.add(object) {
					return
				}
			}
		}
		l.end()
	}
}

// listedDay is what lies below a day.
type listedDay struct {
	at      time.Time // its beginning
	objects []Object
}

// longListing is from how many days on a listing first looks where the backup
// begins, which costs two calls; each day costs two as well, also where there is
// nothing.
const longListing = 366

// days yields what lies below each day, from one that may matter on.
func days(ctx context.Context, store Objects, w Window) iter.Seq2[listedDay, error] {
	return func(yield func(listedDay, error) bool) {
		from, to := w.Since(), w.To
		if to.IsZero() {
			to = time.Now()
		}
		to = to.Add(ClockSkew)
		if to.Sub(from) > longListing*day {
			first, err := firstDay(ctx, store, to, ours, firehose)
			if err != nil {
				yield(listedDay{}, err)
				return
			}
			if first.After(from) {
				from = first
			}
		}
		for at := from.UTC().Truncate(day); !at.After(to); at = at.Add(day) {
			objects, err := ofDay(ctx, store, at, oursDay, firehoseDay)
			if !yield(listedDay{at, objects}, err) || err != nil {
				return
			}
		}
	}
}

// ofDay returns what lies below a day, in some of the layouts.
func ofDay(ctx context.Context, store Objects, at time.Time, layouts ...string) (objects []Object, err error) {
	for _, layout := range layouts {
		for found, err := range store.List(ctx, at.Format(layout)) {
			if err != nil {
				return nil, fmt.Errorf("list the backup: %w", err)
			}
			if object, ok := parse(found); ok {
				objects = append(objects, object)
			}
		}
	}
	return objects, nil
}

// firstDay finds where a backup begins, by what keys begin with: they are in the
// order of time, in either layout.
func firstDay(ctx context.Context, store Objects, none time.Time, layouts ...string) (time.Time, error) {
	first := none
	for _, prefix := range layouts {
		for found, err := range store.List(ctx, prefix) {
			if err != nil {
				return first, fmt.Errorf("look for the beginning of the backup: %w", err)
			}
			if object, ok := parse(found); ok {
				if object.hour.Before(first) {
					first = object.hour
				}
				break
			}
		}
	}
	return first, nil
}

// lister decides about each link of a chain when it sees the next one, before
// which it ends.
type lister struct {
	window Window
	open   map[Shard]Object // the last link of each chain
	yield  func(Object, error) bool
}

func (l *lister) add(o Object) bool {
	if !o.ours {
		to := l.window.To.Add(ClockSkew)
		o.Wanted = (l.window.To.IsZero() || !o.hour.After(to)) && o.hour.Add(time.Hour+firehoseReach).After(l.window.From.Add(-l.window.Reach))
		return !o.Wanted || l.yield(o, nil)
	}
	before, has := l.open[o.name.Shard]
	l.open[o.name.Shard] = o
	return !has || l.pass(before, o.name.First)
}

func (l *lister) end() {
	for _, o := range slices.SortedFunc(maps.Values(l.open), order) {
		if !l.pass(o, "") {
			return
		}
	}
}

// pass yields a link, if it matters. next is where the one behind it begins, if
// there is one.
func (l *lister) pass(o Object, next string) bool {
	w := l.window
	spans, known := w.Spans(o.name.Shard)
	if known {
		o.Wanted = slices.ContainsFunc(spans, func(s Span) bool {
			return (s.Until == "" || telemetry.ComparePositions(o.name.First, s.Until) <= 0) &&
				(next == "" || s.After == "" || telemetry.ComparePositions(next, s.After) > 0)
		})
		return !o.Wanted || l.yield(o, nil)
	}
	o.Wanted = o.within(w, 0)
	return !o.within(w, ClockSkew) || l.yield(o, nil)
}

// within reports whether records of an object's hour arrived in a window, or so
// close to it.
func (o Object) within(w Window, close time.Duration) bool {
	return (w.To.IsZero() || !o.hour.After(w.To.Add(close))) && o.hour.Add(time.Hour+close).After(w.From)
}

// Reached returns up to where the backup of some shards of a stream has come
// since a time: what the last object of each one's chain says of itself. One
// that has none is not named.
func Reached(ctx context.Context, store Described, stream string, created time.Time, shards []string, since time.Time) (map[string]Meta, error) {
	wanted := map[Shard]bool{}
	for _, id := range shards {
		wanted[Shard{stream, time.Unix(created.Unix(), 0).UTC(), id}] = true
	}
	chains, err := latest(ctx, store, wanted, Window{From: since}.Since(), time.Now().Add(ClockSkew))
	if err != nil {
		return nil, err
	}
	reached := map[string]Meta{}
	for shard, last := range chains {
		text, err := store.Meta(ctx, last.Key)
		if err != nil {
			return nil, fmt.Errorf("see how far the backup is: %w", err)
		}
		meta, err := ParseMeta(text)
		if err != nil {
			return nil, fmt.Errorf("see how far the backup is by %s: %w", last.Key, err)
		}
		reached[shard.ID] = meta
	}
	return reached, nil
}

// latest finds the last object of some chains between two days. It begins with
// the newest, and lists no more days than it needs.
func latest(ctx context.Context, store Objects, wanted map[Shard]bool, from, to time.Time) (map[Shard]Object, error) {
	found := map[Shard]Object{}
	if len(wanted) == 0 {
		return found, nil
	}
	first, err := firstDay(ctx, store, to, ours)
	if err != nil {
		return nil, err
	}
	if from.After(first) {
		first = from
	}
	settled := map[Shard]bool{} // no earlier day has a later link
	for at := to.UTC().Truncate(day); len(settled) < len(wanted) && !at.Before(first.UTC().Truncate(day)); at = at.Add(-day) {
		objects, err := ofDay(ctx, store, at, oursDay)
		if err != nil {
			return nil, err
		}
		for shard := range found {
			settled[shard] = true
		}
		for _, o := range objects {
			before, has := found[o.name.Shard]
			if o.ours && wanted[o.name.Shard] && (!has || telemetry.ComparePositions(o.name.First, before.name.First) > 0) {
				found[o.name.Shard] = o
			}
		}
		for shard, o := range found {
			if o.hour.After(at) { // else, as arrivals are not in order, it may go on below the day before
				settled[shard] = true
			}
		}
	}
	return found, nil
}

// Described are Objects with metadata.
type Described interface {
	Objects
	Meta(ctx context.Context, key string) (map[string]string, error)
}
