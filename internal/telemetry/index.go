package telemetry

import (
	"slices"
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
// timestamp in UTC, or telemetry-<type>-undated when that is not usable.
func IndexName(recordType string, timestamp time.Time) string {
	if !slices.Contains(Types, recordType) {
		recordType = TypeOther
	}
	if !UsableTimestamp(timestamp) {
		return IndexPrefix + recordType + "-" + Undated
	}
	return IndexPrefix + recordType + "-" + timestamp.UTC().Format(dateLayout)
}

// Undated stands where other indices have their date.
const Undated = "undated"

// dateLayout is that of a date in the name of an index.
const dateLayout = "2006.01.02"

// ParseIndex takes the name of a telemetry index apart; date is zero for an
// undated one. It is false for any other name, such as that of a copy which
// was restored under a suffix.
func ParseIndex(name string) (recordType string, date time.Time, ok bool) {
	rest, ours := strings.CutPrefix(name, IndexPrefix)
	at := strings.LastIndexByte(rest, '-')
	if !ours || at < 1 {
		return "", date, false
	}
	recordType, end := rest[:at], rest[at+1:]
	if end == Undated {
		return recordType, date, true
	}
	date, err := time.Parse(dateLayout, end)
	return recordType, date, err == nil
}
