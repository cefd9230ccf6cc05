package deadletters

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"millrace/internal/backoff"
	"millrace/internal/deadletter"
	"millrace/internal/intake"
	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/sink"
)

const (
	// settlePause is how long the stream and its shards have at first to bring
	// records home.
	settlePause = 500 * time.Millisecond
	// documentsAtOnce bounds the documents that one request looks for.
	documentsAtOnce = 1000
)

// learnKeys learns which entries are there before anything is ingested again:
// those that come later may be what became of it.
func (c *reprocessing) learnKeys() error {
	return c.retry(deadletter.Reading, func() error {
		for key, err := range c.Ledger.List(c.call.Going, ledger.Filter{Stream: c.Stream.Name}) {
			if err != nil {
				return err
			}
			c.known[key] = true
		}
		return nil
	})
}

// ingest puts records into the stream again, but for those that are indexed,
// and waits until it is known what becomes of each. bad says that most of them
// were not indexed.
func (c *reprocessing) ingest(spots []spot) (bad bool, err error) {
	indexed, rest, err := c.find(spots)
	if err != nil {
		return false, err
	}
	for _, s := range indexed {
		c.progress.Counts.Already++
		c.progress.Counts.Records++
		s.end(ledger.EndedIndexedBefore)
	}
	before := c.progress.Counts
	if rest, err = c.put(rest); err != nil {
		return false, err
	}
	if err := c.awaitOutcome(rest); err != nil {
		return false, err
	}
	after := c.progress.Counts
	failed := after.Refused - before.Refused + after.Unsettled - before.Unsettled
	if failed > after.Indexed-before.Indexed {
		c.progress.Portion = firstPortion
		return failed >= leastJudged, nil
	}
	c.progress.Portion = min(2*c.progress.Portion, largestPortion)
	return false, nil
}

// find divides records into those that are indexed and the others.
func (c *reprocessing) find(spots []spot) (indexed, rest []spot, err error) {
	err = c.retry(settling, func() (err error) {
		indexed, rest, err = c.look(spots)
		return err
	})
	return indexed, rest, err
}

// look is find, once.
func (c *reprocessing) look(spots []spot) (indexed, rest []spot, err error) {
	var references []sink.Reference
	var of []spot
	flush := func() error {
		found, err := c.Documents.Exist(c.call.Going, references)
		for n, there := range found {
			if there {
				indexed = append(indexed, of[n])
			} else {
				rest = append(rest, of[n])
			}
		}
		references, of = references[:0], of[:0]
		return err
	}
	for _, s := range spots {
		r := s.record()
		if r.DocID == "" || r.Index == "" { // not a record of ours
			rest = append(rest, s)
			continue
		}
		references, of = append(references, sink.Reference{Index: r.Index, ID: r.DocID}), append(of, s)
		if len(references) == documentsAtOnce {
			if err := flush(); err != nil {
				return nil, nil, err
			}
		}
	}
	err = flush() // which adds to both
	return indexed, rest, err
}

// put puts records into the stream, or the queue from where they come there,
// and returns those that were taken.
func (c *reprocessing) put(spots []spot) (taken []spot, err error) {
	var dead refusals
	way := c.Intake(&dead)
	for wait := longcall.FirstWait; len(spots) > 0; wait = min(2*wait, longcall.LongestWait) {
		data := make([][]byte, len(spots))
		for n, s := range spots {
			data[n] = s.record().Data
		}
		dead = nil
		left, err := way.Put(c.call.Going, c.holder.By, data)
		again := make([]spot, len(left))
		isLeft := map[int]bool{}
		for n, at := range left {
			again[n], isLeft[at] = spots[at], true
		}
		for _, d := range dead {
			c.refuse(spots[d.Position], outcome.Error{Type: d.Code, Reason: d.Reason})
			isLeft[d.Position] = true
		}
		for at, s := range spots {
			if !isLeft[at] {
				taken = append(taken, s)
			}
		}
		if spots = again; len(spots) == 0 {
			break
		}
		c.call.Stall.Set(ingesting, err)
		if !backoff.Wait(c.call.Going, wait) {
			return taken, longcall.ErrStopped
		}
	}
	c.call.Stall.Clear(ingesting)
	return taken, nil
}

// refusals are the records that the stream will never take. They are in the
// ledger already.
type refusals []intake.Refused

// WriteIngest implements intake.DeadLetters.
func (r *refusals) WriteIngest(_ context.Context, _ string, dead []intake.Refused) error {
	*r = append(*r, dead...)
	return nil
}

// awaitOutcome waits until each record is indexed, or in a new entry of the ledger,
// or nothing was seen of any of them for too long.
func (c *reprocessing) awaitOutcome(spots []spot) error {
	news := time.Now()
	for wait := settlePause; len(spots) > 0; wait = min(wait*3/2, longcall.LongestWait) {
		c.progress.Waiting = len(spots)
		c.tell()
		if !backoff.Wait(c.call.Going, wait) {
			return longcall.ErrStopped
		}
		indexed, rest, err := c.look(spots)
		if err == nil {
			for _, s := range indexed {
				c.progress.Counts.Indexed++
				c.progress.Counts.Records++
				s.end(ledger.EndedIndexed)
			}
			before := len(spots)
			if spots, err = c.replaced(rest); len(spots) < before {
				news = time.Now()
			}
		}
		if err != nil { // their state is unknown, so their time does not run
			c.call.Stall.Set(settling, err)
			news = time.Now()
			continue
		}
		c.call.Stall.Clear(settling)
		if len(spots) > 0 && time.Since(news) > c.in.Settle {
			for _, s := range spots {
				c.unsettled(s)
			}
			break
		}
	}
	c.progress.Waiting = 0
	return nil
}

// unsettled leaves a record open of which nothing was seen.
func (c *reprocessing) unsettled(s spot) {
	c.progress.Counts.Unsettled++
	c.progress.Counts.Records++
	s.item.changed = true
	s.item.entry.Reprocessing.Error = &outcome.Error{
		Type: outcome.TypeUnsettled, Reason: fmt.Sprintf("ingested again, and after %v neither indexed nor refused: does its shard run?", c.in.Settle),
	}
}

// replaced looks for records in entries that are new in the ledger: there they
// are with the error for which they were refused again. It returns those that
// are in none.
func (c *reprocessing) replaced(spots []spot) (rest []spot, last error) {
	if len(spots) == 0 {
		return nil, nil
	}
	for key, err := range c.Ledger.List(c.call.Going, ledger.Filter{Stream: c.Stream.Name}) {
		if err != nil {
			last = err
			break
		}
		if c.known[key] {
			continue
		}
		if failed := c.replace(key, spots); failed != nil {
			last = failed // it is looked at again
			continue
		}
		c.known[key] = true
	}
	return slices.DeleteFunc(slices.Clone(spots), func(s spot) bool { return s.record().Ended != "" }), last
}

// replace enters that a new entry replaces those of records that it has, too.
func (c *reprocessing) replace(key string, spots []spot) error {
	e, err := c.Ledger.Get(c.call.Going, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if e.Held != nil || e.Resolution != nil {
		return nil
	}
	causes := map[string]outcome.Error{} // by document
	for _, r := range e.Records {
		if len(r.Data) > 0 {
			causes[r.DocID] = r.Error
		}
	}
	var ended []spot
	for _, s := range spots {
		if _, here := causes[s.record().DocID]; here && s.item.key != key && s.record().Ended == "" {
			ended = append(ended, s)
		}
	}
	if len(ended) == 0 {
		return nil
	}
	// It is marked first, so that this run does not take it up itself.
	e.Reprocessing = &ledger.Reprocessing{Holder: c.holder, Mode: c.in.Mode, At: deadletter.Now(), Replaces: ended[0].item.key}
	open, err := c.Ledger.Update(c.call.Work, key, e)
	if err != nil || !open {
		return err
	}
	for _, s := range ended {
		c.countRefused(causes[s.record().DocID], key, e.At)
		s.end(ledger.EndedReplacedPrefix + key)
	}
	return nil
}
