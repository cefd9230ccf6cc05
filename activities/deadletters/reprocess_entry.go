package deadletters

import (
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/internal/deadletter"
	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
)

// end enters that a record has ended well.
func (s spot) end(how string) {
	s.record().Ended = how
	s.item.changed = true
}

// refuse enters that a record was refused again, and stays.
func (c *reprocessing) refuse(s spot, cause outcome.Error) {
	s.record().Refuse(cause)
	s.item.changed = true
	c.countRefused(cause, s.item.key, deadletter.Now())
}

func (c *reprocessing) countRefused(cause outcome.Error, key string, at time.Time) {
	c.progress.Counts.Refused++
	c.progress.Counts.Records++
	c.progress.Errors = slices.Clone(c.progress.Errors) // the old ones stand in what was told
	c.progress.Errors.Add(shown(cause), 1, key, at)
}

// enter marks the entries of a portion before anything is done with them.
// Those that were resolved meanwhile are dropped.
func (c *reprocessing) enter(p *portion) error {
	dropped := make([]bool, len(p.items))
	err := c.each(len(p.items), func(n int) error {
		i := p.items[n]
		i.entry.Reprocessing = &ledger.Reprocessing{Holder: c.holder, Mode: c.in.Mode, At: deadletter.Now()}
		if i.lost > 0 {
			i.entry.Reprocessing.Error = &outcome.Error{
				Type: outcome.TypeUnrecoverable, Reason: "neither the ledger nor the stream has the records: look into the backup",
			}
		}
		return c.write(i, &dropped[n])
	})
	kept := p.items[:0]
	for n, i := range p.items {
		if !dropped[n] {
			kept = append(kept, i)
		}
	}
	p.items = kept
	return err
}

// conclude writes what has become of the entries of a portion. Those of which
// each record has ended well are resolved.
func (c *reprocessing) conclude(p *portion) error {
	var changed []*item
	for _, i := range p.items {
		if i.changed {
			changed = append(changed, i)
		}
	}
	resolved := make([]bool, len(changed))
	err := c.each(len(changed), func(n int) error {
		i, gone := changed[n], false
		resolution, done := i.resolution()
		if !done {
			err := c.write(i, &gone)
			i.changed = err != nil
			return err
		}
		resolution.By = c.holder.By
		err := c.store(func() error { return c.Ledger.Resolve(c.call.Work, i.key, resolution) })
		i.changed, resolved[n] = err != nil, err == nil
		return err
	})
	for _, is := range resolved {
		if is {
			c.progress.Counts.Resolved++
		}
	}
	return err
}

// resolution is how an entry ended, if all of its records have.
func (i *item) resolution() (r ledger.Resolution, done bool) {
	r = ledger.Resolution{How: ledger.HowIndexed, Note: i.entry.Reprocessing.Mode, At: deadletter.Now()}
	var by []string
	for _, record := range i.entry.Records {
		if record.Ended == "" {
			return r, false
		}
		if key, is := strings.CutPrefix(record.Ended, ledger.EndedReplacedPrefix); is {
			by = append(by, key)
		}
	}
	if len(by) > 0 {
		slices.Sort(by)
		r.How, r.Note = ledger.HowSuperseded, "its records were refused, and are in "+strings.Join(slices.Compact(by), ", ")
	}
	return r, i.lost == 0
}

// write writes an entry, and reports whether it was resolved meanwhile.
func (c *reprocessing) write(i *item, gone *bool) error {
	return c.store(func() error {
		open, err := c.Ledger.Update(c.call.Work, i.key, i.entry)
		*gone = !open
		return err
	})
}

// store repeats a write to the ledger until it succeeds. When the call has
// ended it makes one attempt: what is known already is not to be forgotten.
func (c *reprocessing) store(write func() error) error {
	if c.call.Going.Err() != nil {
		if err := write(); err != nil {
			return longcall.ErrStopped
		}
		return nil
	}
	return c.retry(writingLedger, write)
}

// each does something with each of a number of entries, several at once.
func (c *reprocessing) each(count int, do func(n int) error) error {
	var group errgroup.Group
	group.SetLimit(deadletter.EntriesAtOnce)
	for n := range count {
		group.Go(func() error { return do(n) })
	}
	return group.Wait()
}
