package telemetry

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Types are the record types that have an index of their own. Any other type
// goes to the index of TypeOther, so that no agent can make us create an index
// per made-up type.
var Types = []string{"span", "trace", "log", "metric", "invocation", "event"}

// TypeOther names the index of records whose type is not in Types.
const TypeOther = "other"

// IndexPrefix begins the name of every telemetry index.
const IndexPrefix = "telemetry-"

// Bounds of a usable timestamp. They are fixed, not relative to now, because
// the index is part of a record's identity: an agent's retry at any later time
// must compute the same one.
var (
	EarliestTimestamp = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	LatestTimestamp   = time.Date(2035, 1, 1, 0, 0, 0, 0, time.UTC)
)

// UsableTimestamp reports whether t may name a daily index and stand as
// @timestamp. A record with any other timestamp goes to the undated index.
func UsableTimestamp(t time.Time) bool {
	return !t.Before(EarliestTimestamp) && t.Before(LatestTimestamp)
}

// IndexName returns telemetry-<type>-<yyyy.mm.dd>, by the record's own
// timestamp in UTC, or telemetry-<type>-undated when that is not usable. It
// names a record's identity; the index it is written to is Placement.Index.
func IndexName(recordType string, timestamp time.Time) string {
	if !UsableTimestamp(timestamp) {
		return indexOf(recordType, Undated)
	}
	return indexOf(recordType, timestamp.UTC().Format(dateLayout))
}

func indexOf(recordType, when string) string {
	if !slices.Contains(Types, recordType) {
		recordType = TypeOther
	}
	return IndexPrefix + recordType + "-" + when
}

// Defaults of Window: a week and a day for agents that were offline, and a day
// for clocks that are ahead. Each day more is an index more of each type.
const (
	DefaultDaysBack  = 8
	DefaultDaysAhead = 1
)

// ClockSkew is how far the clocks of agents and collectors may be apart before
// a record counts as one from the future.
const ClockSkew = 5 * time.Minute

// Window is how many days from its arrival a record's own time may lie to have
// a daily index. Without it, 15 years of dates and seven types would make
// 38,000 indices, and one agent with a wrong clock could reach the cluster's
// limit of shards.
type Window struct{ DaysBack, DaysAhead int }

// Ahead reports whether a record that is received then is from too far ahead.
func (w Window) Ahead(at, received time.Time) bool { return days(received, at) > w.DaysAhead }

// days is how many midnights, UTC, lie between two times after 1970.
func days(from, to time.Time) int {
	const day = 24 * 60 * 60
	return int(to.Unix()/day - from.Unix()/day)
}

// Placement says where a record stands.
type Placement struct {
	Own   string // by its own time alone, so that retries agree: part of its identity
	Index string // by its arrival, too: written to
	// Earlier is the index where an earlier post of the same record may stand,
	// since time moves a record on from undated to daily to its year; empty for
	// nearly all.
	Earlier string
}

// Place places a record with its own time, zero where that is not usable.
func (w Window) Place(recordType string, at, received time.Time) Placement {
	own := IndexName(recordType, at)
	p := Placement{Own: own, Index: own}
	if !UsableTimestamp(at) {
		return p
	}
	switch {
	case w.Ahead(at, received):
		p.Index, p.Earlier = indexOf(recordType, Undated), own
	case days(at, received) > w.DaysBack:
		p.Index, p.Earlier = indexOf(recordType, at.UTC().Format(yearLayout)), own
	case at.Sub(received) > ClockSkew:
		p.Earlier = indexOf(recordType, Undated)
	}
	return p
}

// Names are those of all indices to which a record may be written that is
// received then.
func (w Window) Names(received time.Time) []string {
	var names []string
	today := received.UTC()
	for _, kind := range append(slices.Clone(Types), TypeOther) {
		for day := -w.DaysBack; day <= w.DaysAhead; day++ {
			names = append(names, indexOf(kind, today.AddDate(0, 0, day).Format(dateLayout)))
		}
		last := today.AddDate(0, 0, -w.DaysBack-1).Year()
		for year := EarliestTimestamp.Year(); year <= last; year++ {
			names = append(names, indexOf(kind, strconv.Itoa(year)))
		}
		names = append(names, indexOf(kind, Undated))
	}
	return names
}

// Undated stands where other indices have their date.
const Undated = "undated"

// Layouts of what stands at the end of an index's name.
const (
	dateLayout = "2006.01.02"
	yearLayout = "2006"
)

// Period is how much time an index is for.
type Period int

// The periods of indices.
const (
	NoPeriod Period = iota // no time
	Daily
	Yearly
)

// IndexParts are what the name of a telemetry index says.
type IndexParts struct {
	Type   string
	Period Period
	Begin  time.Time // of the day or year, UTC; zero for an undated index
}

// ParseIndex takes the name of a telemetry index apart. It is false for any
// other name, such as that of a copy which was restored under a suffix.
func ParseIndex(name string) (parts IndexParts, ok bool) {
	rest, ours := strings.CutPrefix(name, IndexPrefix)
	at := strings.LastIndexByte(rest, '-')
	if !ours || at < 1 {
		return parts, false
	}
	parts.Type = rest[:at]
	end, layout := rest[at+1:], dateLayout
	switch {
	case end == Undated:
		return parts, true
	case len(end) == len(yearLayout):
		parts.Period, layout = Yearly, yearLayout
	default:
		parts.Period = Daily
	}
	var err error
	parts.Begin, err = time.Parse(layout, end)
	return parts, err == nil
}
