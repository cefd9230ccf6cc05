package deadletters

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace/internal/backoff"
	"millrace/internal/deadletter"
	"millrace/internal/ledger"
	"millrace/internal/longcall"
	"millrace/internal/outcome"
	"millrace/internal/queue"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Keeper is what the activity of KeepDeadLetters needs.
type Keeper struct {
	Queue  LetterQueue
	Stream telemetry.StreamID
	Source Fetcher
	Ledger *ledger.Ledger
	Worker string // identity of this worker, for operators
}

// LetterQueue is the dead-letter queue. See queue.DeadLetters.
type LetterQueue interface {
	Name() string
	Receive(ctx context.Context, limit int, wait, visibility time.Duration) ([]queue.Letter, error)
	Hide(ctx context.Context, l queue.Letter, visibility time.Duration) error
	Delete(ctx context.Context, l queue.Letter) error
}

// Fetcher returns the records of a range that the stream still has. See
// stream.Stream.
type Fetcher interface {
	Fetch(ctx context.Context, r telemetry.Range) ([]stream.Record, error)
}

// KeepCounts says what became of the messages of the dead-letter queue.
type KeepCounts struct {
	Messages int64 `json:"messages"` // deleted: the ledger has what they report
	Entries  int64 `json:"entries"`  // written for those of which it had nothing
	Records  int64 `json:"records"`  // in these entries, fetched from the stream
	Lost     int64 `json:"lost"`     // records that the stream had no longer
}

// UnreadableLetter is a message that cannot be read. It stays in the queue.
type UnreadableLetter struct {
	ID    string    `json:"id"`
	Sent  time.Time `json:"sent,omitzero"`
	Error string    `json:"error"`
	Seen  time.Time `json:"seen"` // last
}

// KeepCall says which queue to keep, and for how long.
type KeepCall struct {
	Queue string        `json:"queue"`
	For   time.Duration `json:"for"`
	// UntilEmpty ends the call when nothing can be received any more.
	UntilEmpty bool               `json:"untilEmpty,omitempty"`
	Counts     KeepCounts         `json:"counts"` // so far
	Unreadable []UnreadableLetter `json:"unreadable,omitempty"`
}

// KeepProgress is a call's result, and on the way there the details of its
// heartbeat.
type KeepProgress struct {
	Counts KeepCounts `json:"counts"`
	// Unreadable are the oldest of Stay messages that cannot be read.
	Unreadable []UnreadableLetter `json:"unreadable,omitempty"`
	Stay       int                `json:"stay"`
	Worker     string             `json:"worker"`
	LastError  string             `json:"lastError,omitempty"`
}

const (
	// letterVisibility is how long a letter is hidden from others: longer than
	// it takes to fetch its records. One that comes again meanwhile finds
	// its entry.
	letterVisibility = time.Minute
	// mostUnreadable bounds the letters that a status lists.
	mostUnreadable = 20
	// letterWait is how long a receiver waits for letters. It is waited for also
	// by who pauses: a poll that is abandoned may still receive a letter, at the
	// queue's end, unseen until its visibility timeout is over.
	letterWait = 5 * time.Second
	// emptyWait is how long a queue must have nothing to be called empty.
	emptyWait = 2 * time.Second
)

// KeepLetters receives messages from the dead-letter queue, and deletes each
// whose records the ledger has. Those that it has not are fetched from the
// stream and entered there first. Beside that it merges the ledger's index. It ends
// well when its time is over, or it is canceled, or the worker stops.
func (k *Keeper) KeepLetters(ctx context.Context, in KeepCall) (KeepProgress, error) {
	if in.Queue != k.Queue.Name() {
		return KeepProgress{}, fmt.Errorf("keep the letters of queue %s: this worker knows %s", in.Queue, k.Queue.Name())
	}
	going, cancel := longcall.WithWorkerStop(ctx)
	defer cancel()
	going, cancelDue := context.WithTimeout(going, in.For)
	defer cancelDue()
	var last KeepProgress
	if longcall.Resume(ctx, &last) {
		in.Counts, in.Unreadable = last.Counts, last.Unreadable
	}
	long := longcall.Within(going, context.WithoutCancel(ctx))
	defer long.Abandon()
	call := newKeeping(k, in, long)
	defer longcall.Heartbeat(ctx, func() any { return call.told.Get() })()
	defer unreadableLetters.Set(0) // the next call, maybe of another worker, knows them
	call.run(in.UntilEmpty)
	call.tell()
	return call.told.Get(), nil
}

// mergeEvery is how often what is new in the ledger's index is merged. A look-up reads
// each new object, so it stays quick while a thousand entries are written in that time.
const mergeEvery = 10 * time.Second

// keepIndex merges the ledger's index until ctx ends. Stop waits for that.
func (k *Keeper) keepIndex(ctx context.Context) (stop func()) {
	var merging sync.WaitGroup
	merging.Go(func() {
		for {
			if err := k.Ledger.MergeIndex(ctx); err != nil && ctx.Err() == nil {
				slog.Warn("could not merge the index of the ledger, trying again", "error", err)
			}
			if !backoff.Wait(ctx, mergeEvery) {
				return
			}
		}
	})
	return merging.Wait
}

// keeping is one call of KeepLetters.
type keeping struct {
	*Keeper
	call *longcall.Call

	counts     longcall.Guarded[KeepCounts]
	unreadable map[string]UnreadableLetter // by id
	told       longcall.Guarded[KeepProgress]
}

func newKeeping(keeper *Keeper, in KeepCall, call *longcall.Call) *keeping {
	k := &keeping{Keeper: keeper, call: call, unreadable: map[string]UnreadableLetter{}}
	k.counts.Set(in.Counts)
	for _, l := range in.Unreadable {
		k.unreadable[l.ID] = l
	}
	k.tell()
	return k
}

// keepLetter is what a keeper may have to wait for, as operators read it.
const keepLetter = "keep a dead letter"

func (k *keeping) run(untilEmpty bool) {
	wait := letterWait
	if untilEmpty {
		wait = emptyWait
	} else {
		defer k.keepIndex(k.call.Going)()
	}
	for k.call.Going.Err() == nil {
		var letters []queue.Letter
		receive := func() (err error) {
			letters, err = k.Queue.Receive(k.call.Work, queue.MaxBatch, wait, letterVisibility)
			return err
		}
		if !k.call.Retry("receive from the queue", receive) || untilEmpty && len(letters) == 0 {
			return
		}
		failed := 0
		for _, l := range letters {
			if !k.keepLetter(l) {
				failed++
			}
			k.tell()
		}
		if failed > 0 { // it is rather the ledger, or the stream
			backoff.Wait(k.call.Going, longcall.LongestWait)
		}
	}
}

// keepLetter brings a letter to its end, if that is possible now; else it comes
// again.
func (k *keeping) keepLetter(l queue.Letter) bool {
	if k.call.Going.Err() != nil {
		k.giveBack(l)
		return true
	}
	err := l.Damaged
	if err == nil {
		err = k.keep(l)
	}
	switch {
	case errors.Is(err, queue.ErrNotDeadLetter):
		if _, known := k.unreadable[l.ID]; !known {
			slog.Error("a message of the dead-letter queue cannot be read, and stays", "queue", k.Queue.Name(), "message", l.ID, "error", err)
		}
		k.unreadable[l.ID] = UnreadableLetter{ID: l.ID, Sent: l.Sent, Error: err.Error(), Seen: time.Now().UTC()}
		return true
	case err != nil:
		k.call.Stall.Set(keepLetter, err)
		return false
	}
	k.call.Stall.Clear(keepLetter)
	// What a failure leaves in the queue comes again, and finds its entry.
	if err := k.Queue.Delete(k.call.Work, l); err != nil && !errors.Is(err, queue.ErrNotHeld) {
		slog.Warn("could not delete a dead letter, it will come again", "queue", k.Queue.Name(), "message", l.ID, "error", err)
		return true
	}
	delete(k.unreadable, l.ID)
	k.counts.Change(func(c *KeepCounts) { c.Messages++ })
	return true
}

func (k *keeping) giveBack(l queue.Letter) {
	if err := k.Queue.Hide(k.call.Work, l, 0); err != nil && !errors.Is(err, queue.ErrNotHeld) {
		slog.Warn("could not return a dead letter, SQS will deliver it again", "queue", k.Queue.Name(), "message", l.ID, "error", err)
	}
}

// tell brings up to date what the call says of itself.
func (k *keeping) tell() {
	for id, l := range k.unreadable {
		if time.Since(l.Seen) > 3*letterVisibility { // it was deleted meanwhile
			delete(k.unreadable, id)
		}
	}
	listed := slices.SortedFunc(maps.Values(k.unreadable), func(a, b UnreadableLetter) int {
		return cmp.Or(a.Sent.Compare(b.Sent), strings.Compare(a.ID, b.ID))
	})
	_, lastError := k.call.Stall.State()
	k.told.Set(KeepProgress{
		Counts: k.counts.Get(), Unreadable: listed[:min(len(listed), mostUnreadable)], Stay: len(listed),
		Worker: k.Worker, LastError: lastError,
	})
	unreadableLetters.Set(float64(len(listed)))
}

// keep ensures that the ledger has what a letter reports. The error wraps
// queue.ErrNotDeadLetter if that cannot be found.
func (k *keeping) keep(l queue.Letter) error {
	if l.Millrace != nil && ledger.IsKey(l.Millrace.Ledger) {
		_, err := k.Ledger.Get(k.call.Going, l.Millrace.Ledger)
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look for the entry of a dead letter: %w", err)
		}
	}
	r, err := k.rangeOf(l)
	if err != nil {
		return err
	}
	return k.fetch(l, r)
}

// rangeOf is the range that a letter points at.
func (k *keeping) rangeOf(l queue.Letter) (telemetry.Range, error) {
	b := l.Batch
	switch {
	case b == nil || b.First == "" || b.Last == "" || b.ShardID == "":
		return telemetry.Range{}, fmt.Errorf("%w: its ledger entry is gone, and it points at no range", queue.ErrNotDeadLetter)
	case l.Millrace != nil && l.Millrace.Sparse:
		return telemetry.Range{}, fmt.Errorf("%w: its ledger entry is gone, and its range has records that are not dead", queue.ErrNotDeadLetter)
	case b.StreamARN != k.Stream.ARN:
		return telemetry.Range{}, fmt.Errorf("%w: it is about another stream than %s", queue.ErrNotDeadLetter, k.Stream.Name)
	case !isNumber(b.First) || !isNumber(b.Last) || telemetry.ComparePositions(b.First, b.Last) > 0 || b.Size < 0:
		return telemetry.Range{}, fmt.Errorf("%w: its sequence numbers are no range", queue.ErrNotDeadLetter)
	}
	r := telemetry.Range{StreamARN: b.StreamARN, StreamCreated: k.Stream.Created, Shard: b.ShardID, First: b.First, Last: b.Last, Count: b.Size}
	if m := l.Millrace; m != nil && telemetry.SequenceOf(m.First) == b.First && telemetry.SequenceOf(m.Last) == b.Last &&
		telemetry.IsPosition(m.First) && telemetry.IsPosition(m.Last) {
		r.First, r.Last = m.First, m.Last
	}
	if last := b.LastArrival; !last.IsZero() && last.Before(k.Stream.Created) {
		r.StreamCreated = time.Time{} // of an earlier stream of that name
	}
	return r, nil
}

func isNumber(text string) bool {
	return strings.IndexFunc(text, func(c rune) bool { return c < '0' || c > '9' }) < 0
}

// fetch enters the records of a range in the ledger, as far as the stream has
// them, and those that it has no longer as a loss.
func (k *keeping) fetch(l queue.Letter, r telemetry.Range) error {
	// A second delivery may come when the stream has them no longer.
	if has, err := k.Ledger.Has(k.call.Going, ledger.Entry{Kind: ledger.Bulk, Range: r}); has || err != nil {
		return err
	}
	var records []stream.Record
	if !r.StreamCreated.IsZero() {
		// Twice before records are called lost: the letter will be gone.
		for attempt := 0; attempt < 2 && (attempt == 0 || len(records) < max(r.Count, 1)); attempt++ {
			var err error
			if records, err = k.Source.Fetch(k.call.Going, r); err != nil {
				return fmt.Errorf("fetch the records of a dead letter: %w", err)
			}
		}
	}
	entries, missing := letterEntries(l, r, records)
	for _, e := range entries {
		e.At, e.Source = time.Now().UTC().Truncate(time.Millisecond), deadletter.Source(k.call.Work)
		if _, err := k.Ledger.Add(k.call.Work, e); err != nil {
			return fmt.Errorf("write the records of a dead letter to the ledger: %w", err)
		}
	}
	if missing > 0 {
		deadletter.Losses.Inc()
	}
	slog.Warn("entered a dead letter in the ledger", "queue", k.Queue.Name(), "message", l.ID, "shard", r.Shard,
		"first", r.First, "last", r.Last, "records", len(records), "lost", missing)
	k.counts.Change(func(c *KeepCounts) {
		c.Entries += int64(len(entries))
		c.Records += int64(len(records))
		c.Lost += int64(missing)
	})
	return nil
}

// letterEntries are the ledger entries of a letter, for the records that the
// stream still has, and for those that it has not.
func letterEntries(l queue.Letter, r telemetry.Range, records []stream.Record) (entries []ledger.Entry, missing int) {
	cause, of := letterCause(l), map[string]outcome.Error{}
	if l.Millrace != nil {
		for _, dead := range l.Millrace.Records {
			of[dead.ID] = outcome.Error{Type: dead.Error.Type, Reason: dead.Error.Reason}
		}
	}
	size := 0
	for _, record := range records {
		if size += len(record.Data); len(entries) == 0 || size > deadletter.EntryBytes {
			part := r
			part.First, part.Count = record.Sequence, 0
			entries, size = append(entries, ledger.Entry{Kind: ledger.Bulk, Range: part}), len(record.Data)
		}
		e := &entries[len(entries)-1]
		kept := ledger.NewRecord(record.Data, cause)
		if exact, known := of[kept.ID]; known {
			kept.Error = exact
		}
		kept.Sequence, kept.Arrived = record.Sequence, record.Arrived
		e.Records = append(e.Records, kept)
		e.Range.Last, e.Range.Count = record.Sequence, len(e.Records)
	}
	if missing = r.Count - len(records); missing <= 0 && len(records) > 0 {
		return entries, 0
	}
	lost := r
	lost.Count = missing
	if len(records) > 0 {
		lost.Last = records[0].Sequence // the front of a stream is trimmed
	}
	cause.Cause = &outcome.Error{Type: outcome.TypeTrimmed, Reason: "no longer in the stream when its dead letter was read: look into the backup"}
	return append(entries, ledger.Entry{Kind: ledger.Loss, Range: lost, Cause: &cause}), max(missing, 1)
}

// letterCause is what a letter says of all of its records.
func letterCause(l queue.Letter) outcome.Error {
	e := outcome.Error{
		Type:   cmp.Or(l.ResponseContext.FunctionError, l.RequestContext.Condition, outcome.TypeDeadLetter),
		Status: l.ResponseContext.StatusCode,
	}
	e.Reason = fmt.Sprintf("%s gave it up: %s, after %d attempts",
		cmp.Or(l.RequestContext.FunctionARN, "the sender of the dead letter"),
		cmp.Or(l.RequestContext.Condition, "it does not say why"), l.RequestContext.ApproximateInvokeCount)
	return e
}
