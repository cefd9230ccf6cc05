package deadletters

import (
	"slices"

	"millrace/internal/deadletter"
	"millrace/internal/ledger"
	"millrace/internal/telemetry"
)

// given are the entries of a shard whose records were given up: those of neighbours, and
// those whose records have others between them.
type given struct{ runs, sparse deadletter.EntryRanges }

// adoptHeld takes over what a ProcessBatch held that does not run any more.
// Records that it gave up before that are in entries of their own, and are not
// taken from the copy.
func (c *reprocessing) adoptHeld(i *item) error {
	e := &i.entry
	g, err := c.givenUp(e.Range)
	if err != nil {
		return err
	}
	lists := map[string][]string{}
	var left []int
	for _, at := range i.at {
		r := &e.Records[at]
		key := g.run(r.Sequence)
		if key == "" {
			if key, err = c.listed(g.sparse, r.Sequence, lists); err != nil {
				return err
			}
		}
		if key == "" {
			left = append(left, at)
			continue
		}
		r.Ended = ledger.EndedReplacedPrefix + key
		i.changed = true
	}
	i.at = left
	return nil
}

// run is the key of the entry of neighbours that has a record; empty if there is
// none.
func (g given) run(sequence string) (key string) {
	for key := range g.runs.Around(sequence) {
		return key
	}
	return ""
}

// listed is the key of the sparse entry that has a record; empty if there is
// none. The lists that it reads it keeps in lists.
func (c *reprocessing) listed(sparse deadletter.EntryRanges, sequence string, lists map[string][]string) (string, error) {
	for key := range sparse.Around(sequence) {
		list, known := lists[key]
		if !known {
			err := c.retry(deadletter.Reading, func() (err error) {
				list, err = c.Ledger.Positions(c.call.Going, key)
				return err
			})
			if err != nil {
				return "", err
			}
			lists[key] = list
		}
		if _, has := slices.BinarySearchFunc(list, sequence, telemetry.ComparePositions); has {
			return key, nil
		}
	}
	return "", nil
}

// givenUp are the entries, open or done, of the shard of a range. They are read
// once: what holders give up later was held at that time, and left to them.
func (c *reprocessing) givenUp(r telemetry.Range) (given, error) {
	c.readingGiven.Lock()
	defer c.readingGiven.Unlock()
	if g, known := c.given[r.Shard]; known {
		return g, nil
	}
	var g given
	err := c.retry(deadletter.Reading, func() error {
		g = given{}
		for _, done := range []bool{false, true} {
			for key, err := range c.Ledger.List(c.call.Going, ledger.Filter{Done: done, Stream: c.Stream.Name, Shard: r.Shard}) {
				if err != nil {
					return err
				}
				if of, ok := ledger.RangeOf(key, r.StreamCreated); ok {
					g.runs.Add(of, key)
				} else if of, ok := ledger.ManyOf(key, r.StreamCreated); ok {
					g.sparse.Add(of, key)
				}
			}
		}
		return nil
	})
	if err != nil {
		return given{}, err
	}
	g.runs.Sort()
	g.sparse.Sort()
	c.given[r.Shard] = g
	return g, nil
}
