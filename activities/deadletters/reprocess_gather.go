package deadletters

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/deadletter"
	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// portion is what of the ledger is read and marked together.
type portion struct {
	items []*item
	last  string // key of the last entry that was looked at
	took  time.Duration
}

// item is an entry with selected records.
type item struct {
	key     string
	entry   ledger.Entry
	at      []int // positions of those that have not ended
	lost    int   // selected records that are found nowhere
	held    bool
	changed bool // since it was written
}

// spot is a record of an entry.
type spot struct {
	item *item
	at   int
}

func (s spot) record() *ledger.Record { return &s.item.entry.Records[s.at] }

// spots are the records of a portion.
func (p *portion) spots() (spots []spot) {
	for _, i := range p.items {
		for _, at := range i.at {
			spots = append(spots, spot{i, at})
		}
	}
	return spots
}

// gatherer reads the ledger from the cursor on.
type gatherer struct {
	*reprocessing
	pull  func() (string, error, bool)
	stop  func()
	ahead []*item // what was read and is in no portion yet
	ended bool
}

func newGatherer(c *reprocessing) *gatherer {
	g := &gatherer{reprocessing: c}
	g.pull, g.stop = iter.Pull2(c.Ledger.Select(c.call.Going, c.in.Select, c.progress.Cursor))
	return g
}

// next returns the next portion, nil if there is none.
func (g *gatherer) next() (*portion, error) {
	began, p := time.Now(), &portion{}
	records, bytes := 0, 0
	for looked := 0; looked < looksAtOnce && records < largestPortion && bytes < portionBytes; looked++ {
		if len(g.ahead) == 0 {
			if err := g.read(); err != nil {
				return nil, err
			}
		}
		if len(g.ahead) == 0 {
			break
		}
		i := g.ahead[0]
		g.ahead, p.last = g.ahead[1:], i.key
		if i.held {
			g.progress.Counts.Held += int64(len(i.at))
			continue
		}
		if len(i.at) == 0 && i.lost == 0 && !i.changed {
			continue
		}
		p.items = append(p.items, i)
		records += len(i.at) + i.lost
		for _, at := range i.at {
			bytes += len(i.entry.Records[at].Data)
		}
	}
	if p.last == "" {
		return nil, nil
	}
	p.took = time.Since(began)
	return p, nil
}

// read reads some entries ahead.
func (g *gatherer) read() error {
	for !g.ended && len(g.ahead) < readsAtOnce {
		key, err, more := g.pull()
		if !more {
			g.ended = true
			break
		}
		if err != nil {
			return fmt.Errorf("select from the ledger: %w", err) // the next attempt goes on at the cursor
		}
		g.ahead = append(g.ahead, &item{key: key})
	}
	var reading errgroup.Group
	for _, i := range g.ahead {
		reading.Go(func() error { return g.load(i) })
	}
	return reading.Wait()
}

// load reads an entry, and finds out which of its records are to be taken.
func (c *reprocessing) load(i *item) error {
	gone := false
	get := func() (err error) {
		i.entry, err = c.Ledger.Get(c.call.Going, i.key)
		if gone = errors.Is(err, fs.ErrNotExist); gone {
			return nil
		}
		return err
	}
	if !c.call.Retry(deadletter.Reading, get) {
		return longcall.ErrStopped
	}
	e := &i.entry
	switch {
	case gone:
		return nil
	case e.Resolution != nil:
		// The process that resolved it was killed before it was closed, or it was written
		// at that moment.
		return c.retry(writingLedger, func() error { return c.Ledger.Resolve(c.call.Work, i.key, *e.Resolution) })
	case !c.in.Select.Written(*e), e.Reprocessing != nil && e.Reprocessing.Replaces != "" && e.Reprocessing.Holder == c.holder:
		return nil // the second is what came of this very run
	}
	for at, r := range e.Records {
		if r.Ended == "" && c.in.Select.Record(r) {
			i.at = append(i.at, at)
		}
	}
	if e.Held != nil && len(i.at) > 0 {
		held, err := c.isHeld(e.Held.By)
		if i.held = held; held || err != nil {
			return err
		}
		if err := c.adoptHeld(i); err != nil {
			return err
		}
	}
	return c.fill(i)
}

// retry repeats an operation until it succeeds, or the call ends.
func (c *reprocessing) retry(what string, operation func() error) error {
	if !c.call.Retry(what, operation) {
		return longcall.ErrStopped
	}
	return nil
}

// isHeld reports whether a workflow is still at work on what it holds.
func (c *reprocessing) isHeld(by string) (held bool, err error) {
	err = c.retry(checking, func() (err error) {
		held, err = c.Workflows.Runs(c.call.Going, by)
		return err
	})
	return held, err
}

// fill fetches from the stream the selected records of which the ledger has no
// payload.
func (c *reprocessing) fill(i *item) error {
	e := &i.entry
	empty := func(at int) bool { return len(e.Records[at].Data) == 0 }
	if len(e.Records) == 0 && c.in.Select.Entry(*e) {
		i.lost = max(e.Range.Count, 1)
	} else if !slices.ContainsFunc(i.at, empty) {
		return nil
	}
	var records []stream.Record
	if r := e.Range; r.StreamARN == c.Stream.ARN && r.StreamCreated.Equal(c.Stream.Created) {
		err := c.retry(fetching, func() (err error) {
			records, err = c.Source.Fetch(c.call.Going, r)
			return err
		})
		if err != nil {
			return err
		}
	}
	if len(e.Records) == 0 {
		i.adopt(records)
		return nil
	}
	for _, r := range records {
		for _, at := range i.at {
			if kept := &e.Records[at]; empty(at) && kept.Sequence == r.Sequence {
				exact := kept.Error
				*kept = ledger.NewRecord(r.Data, exact)
				kept.Sequence, kept.Arrived = r.Sequence, r.Arrived
			}
		}
	}
	all := len(i.at)
	i.at = slices.DeleteFunc(i.at, empty)
	i.lost = all - len(i.at)
	return nil
}

// adopt gives an entry without records those that the stream has, if they are
// all: its front is trimmed, and the first of them would be gone first.
func (i *item) adopt(records []stream.Record) {
	e := &i.entry
	if e.Range.Count == 0 || len(records) < e.Range.Count || telemetry.ComparePositions(records[0].Sequence, e.Range.First) != 0 {
		return
	}
	for at, r := range records {
		kept := ledger.NewRecord(r.Data, *e.Cause)
		kept.Sequence, kept.Arrived = r.Sequence, r.Arrived
		e.Records, i.at = append(e.Records, kept), append(i.at, at)
	}
	i.lost = 0
}
