package telemetry

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Range points at the records of one shard from First to Last, both included.
// Sequence numbers are sparse, so Count cannot be computed from them.
type Range struct {
	StreamARN     string    `json:"streamArn"`
	StreamCreated time.Time `json:"streamCreated"` // tells a stream from a later one of the same name
	Shard         string    `json:"shard"`
	First         string    `json:"first"`
	Last          string    `json:"last"`
	// FirstSub and LastSub count the user records inside an aggregated (KPL)
	// record; zero where records are not aggregated.
	FirstSub int64 `json:"firstSub,omitempty"`
	LastSub  int64 `json:"lastSub,omitempty"`
	Count    int   `json:"count"`
}

// Contains reports whether a sequence number lies within the range.
func (r Range) Contains(sequence string) bool {
	return CompareSequence(r.First, sequence) <= 0 && CompareSequence(sequence, r.Last) <= 0
}

// Ranges of a shard, which may overlap.
type Ranges []Range

// Has reports whether a sequence number lies within one of them.
func (s Ranges) Has(sequence string) bool {
	return slices.ContainsFunc(s, func(r Range) bool { return r.Contains(sequence) })
}

// String names the range in logs and errors: shard and sequence numbers.
func (r Range) String() string {
	return fmt.Sprintf("%s %s-%s (%d records)", r.Shard, r.First, r.Last, r.Count)
}

// Checkpoint says how far a shard has been read and made durable elsewhere.
// The zero value is the beginning: TRIM_HORIZON.
type Checkpoint struct {
	// Sequence is the last sequence number that is done. Reading resumes AT it,
	// so that a trimmed range shows: another record comes first.
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

// CompareSequence orders two sequence numbers of one shard: decimal numbers of
// up to 56 digits and more, too large for any integer type.
func CompareSequence(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if c := cmp.Compare(len(a), len(b)); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}
