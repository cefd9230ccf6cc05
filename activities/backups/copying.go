package backups

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"millrace/internal/backoff"
	"millrace/internal/backup"
	"millrace/internal/deadletter"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/source"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// What a backup may have to wait for, as operators read it.
const (
	reading = "read the shard"
	storing = "write to the bucket"
)

// atTip is the most records of a page that may be all there is: emulators say
// of each page that it is at the tip of its shard.
const atTip = 1000

// copying is one call of CopyShard. One goroutine reads, one compresses and
// writes. In memory are three pages at the most (the one being decoded, the one
// handed over and the one being compressed) and one object, compressed.
type copying struct {
	archivist *Archivist
	in        CopyInput

	call  *longcall.Call
	due   chan struct{} // closed when the call is to end with its next object
	isDue bool          // it is closed; belongs to tick
	since time.Time     // when the first record was taken that is held

	mu       sync.Mutex
	at       telemetry.Checkpoint
	counts   Counts
	held     backup.Meta // what is read behind at
	moves    int         // of the checkpoint
	children []string    // set at the end of the shard
	// lost says, once it is reported, that the stream was made anew.
	lost *stream.ReplacedError
}

func (c *copying) moved() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moves
}

// errReread says that another writer's object ends before what was read: the
// shard is to be read again from there.
var errReread = errors.New("the chain goes on earlier")

// run copies until the shard ends or the call does.
func (c *copying) run() {
	for {
		err := c.copy()
		if !errors.Is(err, errReread) || c.call.Going.Err() != nil {
			return
		}
	}
}

// copy copies from the checkpoint on, as long as what is read fits to the
// chain.
func (c *copying) copy() error {
	reading, stop := context.WithCancel(c.call.Going)
	pages, ended := make(chan stream.Page), make(chan struct{})
	var replaced source.Replacement // belongs to the one who reads, until pages is closed
	go func() {
		defer close(ended)
		c.read(reading, pages, &replaced)
	}()
	defer func() { stop(); <-ended }()

	chain := backup.Open(c.archivist.Store, backup.Shard{Stream: c.archivist.Stream.Name, Created: c.archivist.Stream.Created, ID: c.in.Shard}, c.at.Sequence)
	full := time.NewTimer(c.archivist.Limits.Within)
	defer full.Stop()
	due := c.due
	for {
		full.Stop()
		if chain.Held().Count > 0 {
			full.Reset(time.Until(c.since.Add(c.archivist.Limits.Within)))
		}
		var err error
		select {
		case page, open := <-pages:
			if !open {
				err := c.flush(chain)
				if err == nil && replaced.By != nil {
					if err = c.reportLoss(replaced.Loss()); err == nil {
						c.lost = replaced.By
					}
				}
				return err
			}
			if err = c.hold(chain, page); err == nil && page.End {
				return c.close(chain, page)
			}
		case <-full.C:
			err = c.flush(chain)
		case <-due:
			due = nil // it is asked for below
		case <-c.call.Going.Done():
			return c.flush(chain)
		}
		if err != nil {
			return err
		}
		select {
		case <-c.due:
			if chain.Held().Count == 0 && c.moved() > 0 {
				c.call.Stop(longcall.ErrDue)
			}
		default:
		}
	}
}

// read reads from the checkpoint on, one page ahead of what is taken.
func (c *copying) read(ctx context.Context, pages chan<- stream.Page, replaced *source.Replacement) {
	defer close(pages)
	c.mu.Lock()
	replaced.Last = c.at
	reader := c.archivist.Source.Read(c.in.Shard, c.at)
	c.mu.Unlock()
	defer reader.Close()
	for {
		var next stream.Page
		read := func() (err error) {
			defer longcall.CatchPanic(&err)
			next, err = reader.Next(ctx)
			return replaced.Read(next, err)
		}
		if !longcall.Retry(ctx, &c.call.Stall, reading, read) || replaced.By != nil {
			return
		}
		// No reader waits for the backup, so the next calls are for those who read
		// the shard by polling, too.
		tip := c.archivist.Limits.FanOut == "" && next.BehindLatest == 0 && len(next.Records) <= atTip
		select {
		case pages <- next:
		case <-ctx.Done():
			return
		}
		if next.End || tip && !backoff.Wait(ctx, c.archivist.Limits.Poll) {
			return
		}
	}
}

// hold adds a page to what is held, and writes objects as they get full.
func (c *copying) hold(chain *backup.Chain, page stream.Page) error {
	defer page.Release()
	if page.Loss != nil {
		if err := errors.Join(c.flush(chain), c.reportLoss(page.Loss)); err != nil {
			return err
		}
		chain.Doubt()
	}
	for _, r := range page.Records {
		if err := c.add(chain, r); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held = chain.Held(); c.held.Count == 0 { // no records, or only such as are in the chain: time has passed
		if last := chain.Last(); last != c.at.Sequence { // only its writer knows when it arrived
			c.at.Sequence, c.at.Arrived = last, time.Time{}
		}
		c.readUpTo(page.ReadUpTo)
		c.moves++
	}
	return nil
}

// add adds the documents of a record of the stream to what is held, all to one object.
func (c *copying) add(chain *backup.Chain, r stream.Record) error {
	documents, bytes := r.Documents(), 0
	for _, d := range documents {
		bytes += len(d.Data)
	}
	if held := chain.Held(); !chain.Fits(r.Arrived) || held.Count > 0 && held.Bytes+int64(bytes) > int64(c.archivist.Limits.Bytes) {
		if err := c.flush(chain); err != nil {
			return err
		}
	}
	for _, d := range documents {
		if chain.Held().Count == 0 {
			c.since = time.Now()
		}
		if err := chain.Add(backup.Record{Sequence: d.Sequence, Arrived: d.Arrived, Data: d.Data}); err != nil {
			c.call.Stall.Set(storing, err)
			return err
		}
	}
	return nil
}

// flush writes what is held, for as long as it takes, and moves the checkpoint
// behind it.
func (c *copying) flush(chain *backup.Chain) error {
	if chain.Held().Count == 0 {
		return nil
	}
	c.mu.Lock()
	c.held = chain.Held()
	c.mu.Unlock()
	var f backup.Flushed
	write := func() (err error) {
		defer longcall.CatchPanic(&err)
		f, err = chain.Flush(c.call.Work)
		return err
	}
	if !c.call.Finish(storing, write) {
		return longcall.ErrStopped
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at.Sequence, c.at.Arrived, c.held = chain.Last(), f.Meta.Newest, backup.Meta{}
	c.readUpTo(f.Meta.Newest)
	c.counts.add(f)
	c.moves++
	if f.Reread {
		return errReread
	}
	return nil
}

// readUpTo moves the checkpoint's time, which never goes back.
func (c *copying) readUpTo(t time.Time) {
	if t.After(c.at.ReadUpTo) {
		c.at.ReadUpTo = t
	}
}

// close ends the chain of a shard that has come to its end.
func (c *copying) close(chain *backup.Chain, end stream.Page) error {
	if err := c.flush(chain); err != nil {
		return err
	}
	if c.archivist.Ends != nil && !c.call.Finish(storing, func() error { return chain.End(c.call.Work, c.archivist.Ends) }) {
		return longcall.ErrStopped
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readUpTo(end.ReadUpTo)
	c.at.Closed, c.children = true, end.Children
	return nil
}

// reportLoss says that records may have been trimmed before the backup had read
// them, in the log, in the metrics, and for good in the ledger.
func (c *copying) reportLoss(loss *stream.Loss) error {
	slog.Error("records may have been trimmed from the stream before the backup had read them",
		"stream", c.archivist.Stream.Name, "shard", c.in.Shard, "after", loss.After, "before", loss.Before, "from", loss.From, "to", loss.To)
	backupLosses.Inc()
	r := telemetry.Range{
		StreamARN: c.archivist.Stream.ARN, StreamCreated: c.archivist.Stream.Created, Shard: c.in.Shard, First: loss.After, Last: loss.Before,
	}
	cause := outcome.Error{Type: outcome.TypeMissingInBackup, Reason: "a part of the shard may have been trimmed before it was backed up: " + loss.String()}
	if !c.call.Finish(deadletter.Writing, func() error { return c.archivist.Losses.WriteLoss(c.call.Work, r, cause) }) {
		return longcall.ErrStopped
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Losses++
	return nil
}
