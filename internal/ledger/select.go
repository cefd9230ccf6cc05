package ledger

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"millrace/internal/outcome"
)

// Selection chooses records of the ledger. An empty field matches all.
type Selection struct {
	Error     string    `json:"error,omitempty"`     // text in the type or the reason of the error
	ErrorType string    `json:"errorType,omitempty"` // the error's whole type
	Tenant    string    `json:"tenant,omitempty"`
	Type      string    `json:"type,omitempty"`   // of the records, such as span
	Stream    string    `json:"stream,omitempty"` // name
	Shard     string    `json:"shard,omitempty"`  // of that stream; "ingest" for records without one
	From      time.Time `json:"from,omitzero"`    // entries that were written then or later
	To        time.Time `json:"to,omitzero"`      // and before that
	Keys      []string  `json:"keys,omitempty"`   // these entries only
	// Parked chooses what is parked for this index, and was not refused since.
	Parked string `json:"parked,omitempty"`
}

// MostKeys bounds a list of keys: it stands in a workflow's input.
const MostKeys = 1000

// Validate reports a selection that can choose nothing, or is too long.
func (s Selection) Validate() error {
	var errs []error
	if !s.From.IsZero() && !s.To.IsZero() && !s.From.Before(s.To) {
		errs = append(errs, fmt.Errorf("from %s to %s: that is no time", s.From.Format(time.RFC3339), s.To.Format(time.RFC3339)))
	}
	if s.Shard != "" && s.Stream == "" {
		errs = append(errs, errors.New("a shard needs its stream"))
	}
	if len(s.Keys) > MostKeys {
		errs = append(errs, fmt.Errorf("%d keys: at most %d", len(s.Keys), MostKeys))
	}
	for _, key := range s.Keys {
		if _, err := placeOf(key); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Select yields the keys of the open entries that may have records of a
// selection, in order, behind a key.
func (l *Ledger) Select(ctx context.Context, s Selection, after string) iter.Seq2[string, error] {
	if len(s.Keys) > 0 {
		return func(yield func(string, error) bool) {
			keys := slices.Clone(s.Keys)
			slices.Sort(keys)
			for _, key := range slices.Compact(keys) {
				if place, err := placeOf(key); err != nil || open+place <= after {
					continue
				} else if !yield(open+place, nil) {
					return
				}
			}
		}
	}
	return func(yield func(string, error) bool) {
		for key, err := range l.List(ctx, Filter{Stream: s.Stream, Shard: s.Shard}) {
			if err == nil && key <= after {
				continue
			}
			if index, _ := ParkedOf(key); err == nil && s.Parked != "" && index != s.Parked {
				continue
			}
			if !yield(key, err) || err != nil {
				return
			}
		}
	}
}

// Written reports whether an entry was written in the selection's time.
func (s Selection) Written(e Entry) bool {
	return (s.From.IsZero() || !e.At.Before(s.From)) && (s.To.IsZero() || e.At.Before(s.To))
}

// Cause reports whether the selection has records with an error.
func (s Selection) Cause(e outcome.Error) bool {
	return (s.ErrorType == "" || s.ErrorType == e.Type) && strings.Contains(e.Type+"\n"+e.Reason, s.Error)
}

// Record reports whether the selection has a record.
func (s Selection) Record(r Record) bool {
	return s.Cause(r.Error) && (s.Parked == "" || r.First == nil) && (s.Tenant == "" || s.Tenant == r.Tenant) && (s.Type == "" || s.Type == r.Type)
}

// Entry reports whether the selection has an entry that has no records: their
// tenants are unknown.
func (s Selection) Entry(e Entry) bool {
	return e.Cause != nil && s.Cause(*e.Cause) && s.Tenant == "" && s.Type == ""
}

// Group is what has the same error.
type Group struct {
	Error   string    `json:"error"`
	Reason  string    `json:"reason"` // without what differs from record to record
	Records int       `json:"records"`
	First   time.Time `json:"first"` // when the first and the last of their entries were written
	Last    time.Time `json:"last"`
	Example string    `json:"example"` // key of an entry
}

// Groups are errors, and how many records have them.
type Groups []Group

// MostGroups bounds Groups that stand in a workflow; the last one has the rest.
const MostGroups = 20

// rest is the error of the group that has what no other one has.
const rest = "others"

// Add counts records with an error, in the groups' order of arrival.
func (g *Groups) Add(cause outcome.Error, records int, key string, at time.Time) {
	same := cause.Alike()
	find := func() int {
		return slices.IndexFunc(*g, func(o Group) bool { return o.Error == same.Type && o.Reason == same.Reason })
	}
	n := find()
	if n < 0 && len(*g) >= MostGroups-1 {
		same = outcome.Error{Type: rest}
		n = find()
	}
	if n < 0 {
		*g, n = append(*g, Group{Error: same.Type, Reason: same.Reason, First: at, Last: at, Example: key}), len(*g)
	}
	group := &(*g)[n]
	group.Records += records
	if at.Before(group.First) {
		group.First = at
	}
	if at.After(group.Last) {
		group.Last = at
	}
}
