package snapshot

import (
	"slices"
	"time"

	"millrace/internal/telemetry"
)

// DefaultRepository is the name of the repository, where none is given.
const DefaultRepository = "millrace"

// States of a snapshot: those of Elasticsearch, and Planned before it has
// been begun there.
const (
	Planned    = "PLANNED"     // its record is being written
	InProgress = "IN_PROGRESS" // all that is taken before is taken
	Success    = "SUCCESS"
	Partial    = "PARTIAL" // some shards of indices are not in it
	Failed     = "FAILED"  // it is not usable, or not there
)

// Record is what is kept beside a snapshot.
//
// Shards and Open were taken before it was begun, the shards first: whatever
// is neither behind a shard's checkpoint nor in an open range is in it.
type Record struct {
	Name       string    `json:"name"`
	Repository string    `json:"repository"`
	Started    time.Time `json:"started"` // nothing that came before is missing, but for Open
	Ended      time.Time `json:"ended,omitzero"`
	State      string    `json:"state"`
	Reason     string    `json:"reason,omitempty"` // why it is neither SUCCESS nor going on
	// Indices are those that are in it, or are to be while it is going on.
	Indices map[string]Index `json:"indices"`
	Shards  []Shard          `json:"shards"`
	// Open are the ranges of the ProcessBatch workflows that were open.
	Open []telemetry.Range `json:"open,omitempty"`
	// Suspect says why it is no default of a recovery: an index had vanished or
	// shrunk, other than by retention. Empty: it is not.
	Suspect string `json:"suspect,omitempty"`
	// Accepted is who has looked into that and found it in order.
	Accepted *Acceptance `json:"accepted,omitempty"`
}

// Index is an index as it was just before the snapshot was begun.
type Index struct {
	// Documents is how many there were: the snapshot has that many at the
	// least, and those that came while it was begun.
	Documents int64 `json:"documents"`
	// Created is when the index was made. Restoring keeps it, so an index that
	// was deleted and made again by the next document is told from the old one.
	Created time.Time `json:"created"`
	// Trimmed is how many documents retention had deleted of it by then, in all.
	Trimmed int64 `json:"trimmed,omitempty"`
	// Settled is what later snapshots and a recovery are held against, and Still
	// how much there was of what was settled at the last good snapshot. Records of
	// an earlier version have neither, nor has an index that could not be counted.
	Settled *Settled `json:"settled,omitempty"`
	Still   *Settled `json:"still,omitempty"`
}

// Shard is where a shard of the stream stood.
type Shard struct {
	Stream     string               `json:"stream"` // name
	StreamARN  string               `json:"streamArn"`
	Created    time.Time            `json:"created"` // of the stream
	Shard      string               `json:"shard"`
	Checkpoint telemetry.Checkpoint `json:"checkpoint"` // zero: nothing of it is in the snapshot for certain
}

// Acceptance is an operator's word that a suspect snapshot is in order.
type Acceptance struct {
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
	Was    string    `json:"was"` // Suspect, before
}

// Good reports whether a recovery may choose the snapshot unasked.
func (r Record) Good() bool { return r.State == Success && r.Suspect == "" }

// Final reports whether nothing will become of it any more.
func (r Record) Final() bool { return r.State != Planned && r.State != InProgress }

// Documents is how many there are in all indices, at the least.
func (r Record) Documents() (n int64) {
	for _, index := range r.Indices {
		n += index.Documents
	}
	return n
}

// AddOpen adds ranges to those that were open, and reports whether one was new.
func (r *Record) AddOpen(ranges []telemetry.Range) (more bool) {
	for _, late := range ranges {
		known := func(o telemetry.Range) bool {
			return o.StreamCreated.Equal(late.StreamCreated) && o.Shard == late.Shard && o.First == late.First && o.Last == late.Last
		}
		if !slices.ContainsFunc(r.Open, known) {
			r.Open, more = append(r.Open, late), true
		}
	}
	return more
}

// Accept makes a suspect snapshot one that a recovery may choose, and that
// later ones are compared with.
func (r *Record) Accept(a Acceptance) {
	a.Was, r.Suspect = r.Suspect, ""
	r.Accepted = &a
}
