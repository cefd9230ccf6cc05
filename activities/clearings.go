package activities

import (
	"iter"
	"slices"

	"millrace/internal/telemetry"
)

// clearing is the range of a sparse entry of the ledger.
type clearing struct {
	telemetry.Range
	key   string
	reach string // the last sequence number of this one and of all that begin before it
}

// clearings are those of a shard; they may overlap.
type clearings []clearing

// sort brings them into the order that around needs.
func (c clearings) sort() {
	slices.SortFunc(c, func(a, b clearing) int { return telemetry.CompareSequence(a.First, b.First) })
	reach := ""
	for i := range c {
		if reach == "" || telemetry.CompareSequence(reach, c[i].Last) < 0 {
			reach = c[i].Last
		}
		c[i].reach = reach
	}
}

// around yields the keys of the entries that may have a record.
func (c clearings) around(sequence string) iter.Seq[string] {
	return func(yield func(string) bool) {
		at, _ := slices.BinarySearchFunc(c, sequence, func(c clearing, sequence string) int {
			if telemetry.CompareSequence(c.First, sequence) <= 0 {
				return -1
			}
			return 1
		})
		for at--; at >= 0 && telemetry.CompareSequence(c[at].reach, sequence) >= 0; at-- {
			if contains(c[at].Range, sequence) && !yield(c[at].key) {
				return
			}
		}
	}
}
