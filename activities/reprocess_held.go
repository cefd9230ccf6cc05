package activities

import (
	"cmp"
	"slices"

	"millrace/internal/ledger"
	"millrace/internal/telemetry"
)

// grave is an entry of neighbouring records that were given up.
type grave struct {
	telemetry.Range
	key string
}

// plots are all such entries of a shard, and those whose records have others
// between them.
type plots struct {
	runs   []grave
	sparse clearings
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
	lists := map[string][]string{}
	var left []int
	for _, at := range i.at {
		r := &e.Records[at]
		key := graves.run(r.Sequence)
		if key == "" {
			if key, err = c.listed(graves.sparse, r.Sequence, lists); err != nil {
				return err
			}
		}
		if key == "" {
			left = append(left, at)
			continue
		}
		r.Ended = replacedBy + key
		i.changed = true
	}
	i.at = left
	return nil
}

// run is the key of the entry of neighbours that has a record; empty if there is
// none.
func (p plots) run(sequence string) (key string) {
	n, found := slices.BinarySearchFunc(p.runs, sequence, func(g grave, sequence string) int {
		return telemetry.CompareSequence(g.First, sequence)
	})
	if !found {
		n--
	}
	if n < 0 || !contains(p.runs[n].Range, sequence) {
		return ""
	}
	return p.runs[n].key
}

// listed is the key of the sparse entry that has a record; empty if there is
// none. The lists that it reads it keeps in lists.
func (c *reprocessing) listed(sparse clearings, sequence string, lists map[string][]string) (string, error) {
	for key := range sparse.around(sequence) {
		list, known := lists[key]
		if !known {
			err := c.insist(readingLedger, func() (err error) {
				list, err = c.Ledger.Positions(c.going, key)
				return err
			})
			if err != nil {
				return "", err
			}
			lists[key] = list
		}
		if _, has := slices.BinarySearchFunc(list, sequence, telemetry.CompareSequence); has {
			return key, nil
		}
	}
	return "", nil
}

// gravesOf are the entries, open or done, of the shard of a range. They are read
// once: what holders give up later was held at that time, and left to them.
func (c *reprocessing) gravesOf(r telemetry.Range) (plots, error) {
	c.readingGraves.Lock()
	defer c.readingGraves.Unlock()
	if graves, known := c.graves[r.Shard]; known {
		return graves, nil
	}
	var graves plots
	err := c.insist(readingLedger, func() error {
		graves = plots{}
		for _, done := range []bool{false, true} {
			for key, err := range c.Ledger.List(c.going, ledger.Filter{Done: done, Stream: c.Stream.Name, Shard: r.Shard}) {
				if err != nil {
					return err
				}
				if of, ok := ledger.RangeOf(key, r.StreamCreated); ok {
					graves.runs = append(graves.runs, grave{of, key})
				} else if of, ok := ledger.ManyOf(key, r.StreamCreated); ok {
					graves.sparse = append(graves.sparse, clearing{Range: of, key: key})
				}
			}
		}
		return nil
	})
	if err != nil {
		return plots{}, err
	}
	slices.SortFunc(graves.runs, func(a, b grave) int {
		return cmp.Or(telemetry.CompareSequence(a.First, b.First), cmp.Compare(a.key, b.key))
	})
	graves.sparse.sort()
	c.graves[r.Shard] = graves
	return graves, nil
}
