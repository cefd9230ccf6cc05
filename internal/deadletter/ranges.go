package deadletter

import (
	"iter"
	"slices"

	"millrace/internal/telemetry"
)

// entryRange is the range of an entry of the ledger.
type entryRange struct {
	telemetry.Range
	key   string
	reach string // the last sequence number of this one and of all that begin before it
}

// EntryRanges are the ranges of some entries of a shard; they may overlap. Add all,
// then Sort, then ask.
type EntryRanges []entryRange

// Add adds the range of an entry. Call Sort after the last.
func (c *EntryRanges) Add(r telemetry.Range, key string) {
	*c = append(*c, entryRange{Range: r, key: key})
}

// Sort brings them into the order that Around needs.
func (c EntryRanges) Sort() {
	slices.SortFunc(c, func(a, b entryRange) int { return telemetry.ComparePositions(a.First, b.First) })
	reach := ""
	for i := range c {
		if reach == "" || telemetry.ComparePositions(reach, c[i].Last) < 0 {
			reach = c[i].Last
		}
		c[i].reach = reach
	}
}

// Around yields the keys of the entries that may have a record.
func (c EntryRanges) Around(sequence string) iter.Seq[string] {
	return func(yield func(string) bool) {
		at, _ := slices.BinarySearchFunc(c, sequence, func(c entryRange, sequence string) int {
			if telemetry.ComparePositions(c.First, sequence) <= 0 {
				return -1
			}
			return 1
		})
		for at--; at >= 0 && telemetry.ComparePositions(c[at].reach, sequence) >= 0; at-- {
			if c[at].Contains(sequence) && !yield(c[at].key) {
				return
			}
		}
	}
}
