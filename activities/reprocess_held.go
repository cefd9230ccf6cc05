package activities

import (
	"cmp"
	"slices"

	"millrace/internal/ledger"
	"millrace/internal/telemetry"
)

// grave is an entry of records that were given up.
type grave struct {
	telemetry.Range
	key string
}

// settleHeld takes over what a ProcessBatch held that does not run any more.
// Records that it gave up before that are in entries of their own, and are not
// taken from the copy.
func (c *reprocessing) settleHeld(i *item) error {
	e := &i.entry
	graves, err := c.gravesOf(e.Range)
	if err != nil {
		return err
	}
	i.at = slices.DeleteFunc(i.at, func(at int) bool {
		r := &e.Records[at]
		n, found := slices.BinarySearchFunc(graves, r.Sequence, func(g grave, sequence string) int {
			return telemetry.CompareSequence(g.First, sequence)
		})
		if !found {
			n--
		}
		if n < 0 || !contains(graves[n].Range, r.Sequence) {
			return false
		}
		r.Ended = replacedBy + graves[n].key
		i.changed = true
		return true
	})
	return nil
}

// gravesOf are the entries, open or done, of the shard of a range. They are read
// once: what holders give up later was held at that time, and left to them.
func (c *reprocessing) gravesOf(r telemetry.Range) ([]grave, error) {
	c.readingGraves.Lock()
	defer c.readingGraves.Unlock()
	if graves, known := c.graves[r.Shard]; known {
		return graves, nil
	}
	var graves []grave
	err := c.insist(readingLedger, func() error {
		graves = nil
		for _, done := range []bool{false, true} {
			for key, err := range c.Ledger.List(c.going, ledger.Filter{Done: done, Stream: c.Stream.Name, Shard: r.Shard}) {
				if err != nil {
					return err
				}
				if of, ok := ledger.RangeOf(key, r.StreamCreated); ok {
					graves = append(graves, grave{of, key})
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(graves, func(a, b grave) int {
		return cmp.Or(telemetry.CompareSequence(a.First, b.First), cmp.Compare(a.key, b.key))
	})
	c.graves[r.Shard] = graves
	return graves, nil
}
