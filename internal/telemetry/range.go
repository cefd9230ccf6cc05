package telemetry

import (
	"fmt"
	"slices"
	"time"
)

// Range points at the records of one shard from First to Last, both included:
// two positions. Sequence numbers are sparse, so Count cannot be computed from them.
type Range struct {
	StreamARN     string    `json:"streamArn"`
	StreamCreated time.Time `json:"streamCreated"` // tells a stream from a later one of the same name
	Shard         string    `json:"shard"`
	First         string    `json:"first"`
	Last          string    `json:"last"`
	Count         int       `json:"count"`
}

// Contains reports whether a position lies within the range.
func (r Range) Contains(position string) bool {
	return ComparePositions(r.First, position) <= 0 && ComparePositions(position, r.Last) <= 0
}

// Ranges of a shard, which may overlap.
type Ranges []Range

// Has reports whether a position lies within one of them.
func (s Ranges) Has(position string) bool {
	return slices.ContainsFunc(s, func(r Range) bool { return r.Contains(position) })
}

// String names the range in logs and errors: shard and sequence numbers.
func (r Range) String() string {
	return fmt.Sprintf("%s %s-%s (%d records)", r.Shard, r.First, r.Last, r.Count)
}

// Checkpoint says how far a shard has been read and made durable elsewhere.
// The zero value is the beginning: TRIM_HORIZON.
type Checkpoint struct {
	// Sequence is the last sequence number that is done, with all that its record
	// holds. Reading resumes AT it, so that a trimmed range shows: another record
	// comes first.
	Sequence string `json:"sequence,omitempty"`
	// ReadUpTo is the arrival time of that record, or when nothing came, the
	// time up to which the shard was read.
	ReadUpTo time.Time `json:"readUpTo,omitzero"`
	// Arrived is when the record at Sequence arrived; zero where that is not
	// known, as in a checkpoint of an earlier version.
	Arrived time.Time `json:"arrived,omitzero"`
	// Closed says that the shard is drained to its end and will get no more.
	Closed bool `json:"closed,omitempty"`
}
