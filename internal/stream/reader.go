package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"millrace/internal/telemetry"
)

// trimMargin is by how much a reader errs on the side of reporting a loss: for
// clocks that differ and for records that can be read a while after they
// arrived.
const trimMargin = 5 * time.Minute

// Reader reads one shard. It is for one goroutine at a time.
type Reader struct {
	stream *Stream
	shard  string
	source source
	opened bool
	since  time.Time // when it was opened
	heard  time.Time // when the service answered last

	done telemetry.Checkpoint // how far the pages returned reach
	// unverified: the source was opened anew, and it is not yet seen whether
	// what comes first is what followed the checkpoint.
	unverified bool
	horizon    bool // the service does not know the checkpoint's record: begin at TRIM_HORIZON
	// trailing: what was read last is older than a stream is sure to keep, so
	// that what comes next may be trimmed before it is asked for. An iterator
	// goes on behind that and says nothing.
	trailing bool
	end      *Page

	failures int
	failing  time.Time // since when
}

// Reader returns a reader of a shard that goes on behind a checkpoint; the
// zero one is the beginning of what the stream keeps. It makes no call.
func (s *Stream) Reader(shard string, from telemetry.Checkpoint) *Reader {
	return s.ReaderAs(s.settings.FanOut, shard, from)
}

// ReaderAs is Reader for one who reads beside others: by enhanced fan-out as
// the consumer of that name, or where it is empty by polling, within the budget
// that all readers of the process share.
func (s *Stream) ReaderAs(fanOut, shard string, from telemetry.Checkpoint) *Reader {
	r := &Reader{stream: s, shard: shard, done: from}
	if fanOut != "" {
		r.source = &subscriber{stream: s, name: fanOut, shard: shard}
	} else {
		r.source = s.poller(shard, s.settings.LimitPerCall)
	}
	return r
}

// Close ends a subscription; a reader that polls has nothing to close.
func (r *Reader) Close() { r.source.close() }

// Next waits for its turn within the shard's budget and returns the next page,
// which is empty while the shard is idle. Throttling and failures that pass are
// waited out with backoff for Settings.GiveUpAfter; iterators are renewed. An
// error does not harm the reader: the next call goes on where it stood.
func (r *Reader) Next(ctx context.Context) (Page, error) {
	if r.end == nil && r.done.Closed {
		if err := r.finish(ctx, nil); err != nil {
			return Page{}, err
		}
	}
	for r.end == nil {
		page, err := r.step(ctx)
		countRead(err, page.Records)
		if err == nil {
			r.failures = 0
			return page, nil
		}
		if err := r.recover(ctx, err); err != nil {
			return Page{}, fmt.Errorf("read shard %s of %s: %w", r.shard, r.stream.name, err)
		}
	}
	return *r.end, nil
}

// step opens the source if it must and makes one page of what comes next.
func (r *Reader) step(ctx context.Context) (Page, error) {
	b, err := r.read(ctx)
	if err != nil {
		return Page{}, err
	}
	var loss *Loss
	if b.end {
		err = r.confirmEnd(ctx, &b)
	}
	if err == nil {
		loss, err = r.verify(ctx, &b)
	}
	if err != nil {
		r.opened = false // reads the page again
		return Page{}, err
	}
	return r.page(b, loss), nil
}

// read opens the source if it must and returns what comes next. A shard that
// has left the stream has nothing but its end.
func (r *Reader) read(ctx context.Context) (batch, error) {
	if err := r.stream.glance(ctx); err != nil {
		return batch{}, err
	}
	if r.opened && !r.trailing {
		return r.goOn(ctx)
	}
	r.opened, r.trailing = false, false
	at := position{sequence: r.done.Sequence}
	if r.horizon {
		at.sequence = ""
	}
	if err := r.source.open(ctx, at); err != nil {
		if at.sequence != "" || code(err) != codeNotFound {
			return batch{}, err
		}
		listed, listErr := r.stream.lists(ctx, r.shard, nil)
		if listed || listErr != nil {
			return batch{}, errors.Join(err, listErr)
		}
		r.unverified = true
		return batch{end: true, gone: true, answered: time.Now()}, nil
	}
	r.opened, r.unverified, r.since = true, true, time.Now()
	r.heard = r.since
	return r.goOn(ctx)
}

// silence is how long a reader may have heard nothing until it asks whether the
// stream is still the same. To delete a stream and to make it anew takes longer:
// tens of seconds at AWS.
const silence = 10 * time.Second

// goOn returns what comes next in the source. Kinesis does not say whether an
// iterator of a stream that was deleted goes on in one that was made anew under
// its name, as those of emulators do.
func (r *Reader) goOn(ctx context.Context) (batch, error) {
	b, err := r.source.next(ctx)
	if err != nil {
		return batch{}, err
	}
	now := time.Now()
	if now.Sub(r.heard) >= silence {
		if err := r.stream.sure(ctx, now); err != nil {
			r.opened = false // reads the page again
			return batch{}, err
		}
	}
	r.heard = now
	return b, nil
}

// recover decides what an error of step means. It returns nil to try again.
func (r *Reader) recover(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errRenew) || code(err) == codeExpired:
		r.opened = false
		return nil
	case !r.opened && !r.horizon && r.done.Sequence != "" && unknownSequence(err):
		// Trimmed, most likely: Kinesis does not say what it answers then.
		r.horizon = true
		return nil
	case isReplaced(err):
		return err
	case !passes(err):
		if anew := r.stream.confirm(ctx, time.Now()); anew != nil {
			return anew
		}
		r.opened = false // should it be asked again
		return err
	}
	if r.failures == 0 {
		r.failing = time.Now()
	}
	if time.Since(r.failing) > r.stream.settings.GiveUpAfter {
		r.failures = 0
		return err
	}
	r.failures++
	return wait(ctx, time.Now().Add(backoff(r.failures)))
}

// unknownSequence reports whether an iterator was refused for its sequence
// number, or for something else that TRIM_HORIZON will meet again.
func unknownSequence(err error) bool { return invalidCodes[code(err)] || code(err) == codeNotFound }

// settled reports whether what was read says whether the checkpoint's record is
// there. Kinesis answers with empty pages on the way to a record, too; then the
// tip is still ahead.
func (r *Reader) settled(b *batch) bool {
	return len(b.records) > 0 || b.behind == 0 || b.end || r.done == (telemetry.Checkpoint{})
}

// verify sees, once after the source was opened, whether what comes first is
// what followed the checkpoint. The record at the checkpoint itself was done
// before, and is dropped.
func (r *Reader) verify(ctx context.Context, b *batch) (*Loss, error) {
	if !r.unverified || !r.settled(b) {
		return nil, nil
	}
	var loss *Loss
	if len(b.records) > 0 && b.records[0].Sequence == r.done.Sequence {
		b.records = b.records[1:]
	} else if err := r.stream.sure(ctx, r.since); err != nil { // another stream may be there under the name
		return nil, err
	} else if trimmed, err := r.mayBeTrimmed(ctx, b); err != nil {
		return nil, err
	} else if trimmed {
		losses.Inc()
		loss = &Loss{After: r.done.Sequence, From: r.done.ReadUpTo, To: b.answered.Add(-b.behind)}
		if len(b.records) > 0 {
			loss.Before, loss.To = b.records[0].Sequence, b.records[0].Arrived
		}
	}
	r.unverified, r.horizon = false, false
	return loss, nil
}

// mayBeTrimmed is asked when the first record is not the one at the checkpoint.
// While the shard was read within the shortest retention that there is, that
// only means that the shard was quiet: the record has aged away, but what came
// after the shard was read is still kept. The stream's own retention proves
// nothing: it may have been shorter since, and be long again. A record that
// arrived within the shortest retention cannot have aged away.
// A shard of which nothing was ever read has lost nothing while the stream, or
// the shard, is younger than that.
func (r *Reader) mayBeTrimmed(ctx context.Context, b *batch) (bool, error) {
	kept := b.sureSince()
	switch {
	case r.done.Arrived.After(kept) && len(b.records) > 0:
		return true, nil
	case !r.done.ReadUpTo.IsZero():
		return r.done.ReadUpTo.Before(kept), nil
	case r.done.Sequence != "" || b.gone:
		return true, nil
	case r.stream.created.After(kept):
		return false, nil
	}
	return r.stream.lists(ctx, r.shard, atTrimHorizon)
}

// sureSince is since when what arrived is certain to be kept.
func (b *batch) sureSince() time.Time { return b.answered.Add(-ShortestRetention).Add(trimMargin) }

// page makes the page of what was read, and moves the checkpoint behind it. Time
// has passed only once it is seen that nothing is missing: the reader that continues from
// the page must find out the same.
func (r *Reader) page(b batch, loss *Loss) Page {
	page := Page{Records: b.records, memory: b.memory, BehindLatest: b.behind, End: b.end, Children: b.children, Loss: loss}
	upTo := b.answered.Add(-b.behind)
	if n := len(b.records); n > 0 {
		last := b.records[n-1]
		r.done.Sequence, r.done.Arrived, upTo = last.Sequence, last.Arrived, last.Arrived
		// A subscription cannot be opened for every page: it is seen at its end.
		_, polls := r.source.(*poller)
		r.trailing = polls && last.Arrived.Before(b.sureSince())
	}
	if upTo.After(r.done.ReadUpTo) && !r.unverified {
		r.done.ReadUpTo = upTo
	}
	page.ReadUpTo = r.done.ReadUpTo
	if b.end {
		r.done.Closed = true
		r.end = &Page{ReadUpTo: page.ReadUpTo, End: true, Children: b.children}
	}
	return page
}

// errUnconfirmed says that an answer had no iterator to go on with while the
// shard is open: a damaged answer, not the end.
var errUnconfirmed = errors.New("no iterator in the answer, but the shard is open")

// confirmEnd checks the end of a shard, since it is final: a reader that trusts it
// never reads the shard again. It completes the shard's children.
func (r *Reader) confirmEnd(ctx context.Context, b *batch) error {
	if len(b.children) > 0 {
		return nil
	}
	shards, err := r.stream.Shards(ctx)
	if err != nil {
		return err
	}
	for _, shard := range shards {
		if shard.ID == r.shard && shard.Last == "" {
			return errUnconfirmed
		}
		if slices.Contains(shard.Parents, r.shard) {
			b.children = append(b.children, shard.ID)
		}
	}
	return nil
}

// finish makes the end page of a shard that is known to be closed.
func (r *Reader) finish(ctx context.Context, children []string) error {
	b := batch{children: children}
	if err := r.confirmEnd(ctx, &b); err != nil && !errors.Is(err, errUnconfirmed) {
		return err
	}
	r.end = &Page{ReadUpTo: r.done.ReadUpTo, End: true, Children: b.children}
	return nil
}
