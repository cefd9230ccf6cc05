package deadletter

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"

	"millrace/internal/intake"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/stream"
	"millrace/internal/telemetry"
)

// Writing is what a call waits for while dead letters cannot be written, as operators
// read it.
const Writing = "write to the ledger and the dead-letter queue"

const (
	// EntriesAtOnce bounds the ledger entries that one write, or a look at many, has in flight.
	EntriesAtOnce = 8
	// EntryBytes bounds the records of an entry that no bulk has bounded.
	EntryBytes = 8 << 20
)

// Group is records of one ledger entry that will not be indexed as they are. Unless it
// is sparse they are neighbors, so the range says exactly which they are: a ledger
// entry of that range holds the same records.
type Group struct {
	Range   telemetry.Range
	Records []stream.Record
	Causes  []outcome.Error // one for each record
	// Sparse: there are other records between them, so only the list says which
	// they are.
	Sparse bool
	// Parked names the index that is out of service, if they only wait for that.
	Parked string
}

// entries keeps entries for good, and notes of which of them the dead-letter queue
// does not know. See ledger.Ledger.
type entries interface {
	Add(ctx context.Context, e ledger.Entry) (key string, err error)
	NoteUntold(ctx context.Context, key string) error
}

// Writer writes dead letters: first the ledger entries, with the reason and the
// payload of each record, then the messages about them to the dead-letter queue. To
// write them again changes nothing but that there may be two messages.
type Writer struct {
	ledger   entries
	notifier notifier
}

// NewWriter returns a Writer to a *ledger.Ledger and a *queue.DeadLetters.
func NewWriter(l entries, dlq sender) *Writer {
	return &Writer{ledger: l, notifier: notifier{dlq: dlq, within: notifyWithin}}
}

// Patient returns a Writer that waits for the dead-letter queue as long as it takes,
// for tests on a busy machine.
func (w *Writer) Patient() *Writer {
	return &Writer{ledger: w.ledger, notifier: notifier{dlq: w.notifier.dlq}}
}

// Write writes groups of records.
func (w *Writer) Write(ctx context.Context, groups []Group) error {
	entries := make([]ledger.Entry, len(groups))
	for i, group := range groups {
		entries[i] = group.Entry()
	}
	return w.write(ctx, entries)
}

// Entry is the ledger entry of a group.
func (g Group) Entry() ledger.Entry {
	e := ledger.Entry{Kind: ledger.Bulk, Range: g.Range, Sparse: g.Sparse}
	if g.Parked != "" {
		e.Kind, e.Index = ledger.Parked, g.Parked
	}
	for n, r := range g.Records {
		record := ledger.NewRecord(r.Data, g.Causes[n])
		record.Sequence, record.Arrived = r.Sequence, r.Arrived
		e.Records = append(e.Records, record)
	}
	return e
}

// WriteLoss writes that the stream has lost a range: there is no payload.
func (w *Writer) WriteLoss(ctx context.Context, r telemetry.Range, cause outcome.Error) error {
	return w.write(ctx, []ledger.Entry{{Kind: ledger.Loss, Range: r, Cause: &cause}})
}

// WriteIngest writes records that the stream will never take. The same records have
// the same entries; a later attempt that finds more of a batch makes others. It
// implements intake.DeadLetters.
func (w *Writer) WriteIngest(ctx context.Context, batch string, refused []intake.Refused) error {
	var entries []ledger.Entry
	size := 0
	for _, r := range refused {
		if size += len(r.Data); len(entries) == 0 || size > EntryBytes {
			entries, size = append(entries, ledger.Entry{Kind: ledger.Ingest, Batch: batch, Position: r.Position}), len(r.Data)
		}
		e := &entries[len(entries)-1]
		e.Records = append(e.Records, ledger.NewRecord(r.Data, outcome.Error{Type: r.Code, Reason: r.Reason}))
	}
	return w.write(ctx, entries)
}

// Swept is a record of a backup that the sink refuses.
type Swept struct {
	Sequence string
	Arrived  time.Time
	Data     []byte
	Cause    outcome.Error
}

// WriteSwept writes records of a backup into the ledger, each in an entry of its
// own, so that it has one however it comes again. batch is the recovery: an
// entry of the same record that was resolved earlier does not stand in the way.
func (w *Writer) WriteSwept(ctx context.Context, batch string, swept []Swept) error {
	entries := make([]ledger.Entry, len(swept))
	for i, d := range swept {
		record := ledger.NewRecord(d.Data, d.Cause)
		record.Sequence, record.Arrived = d.Sequence, d.Arrived
		entries[i] = ledger.Entry{Kind: ledger.Ingest, Batch: strings.ReplaceAll(batch, "/", "-"), Records: []ledger.Record{record}}
	}
	if err := w.write(ctx, entries); err != nil {
		return fmt.Errorf("write dead letters of a backup: %w", err)
	}
	return nil
}

// write writes all entries, and then sends letters about them. Once the entries
// are written they are the truth, so no refusal or outage of the dead-letter
// queue is an error.
func (w *Writer) write(ctx context.Context, entries []ledger.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	now := Now()
	keys := make([]string, len(entries))
	writing, all := errgroup.WithContext(ctx)
	writing.SetLimit(EntriesAtOnce)
	for i := range entries {
		entries[i].At, entries[i].Source = now, Source(ctx)
		writing.Go(func() error {
			var err error
			keys[i], err = w.ledger.Add(all, entries[i])
			return err
		})
	}
	if err := writing.Wait(); err != nil {
		return fmt.Errorf("write to the ledger: %w", err)
	}
	slog.WarnContext(ctx, "wrote dead letters", "entries", len(entries),
		"kind", entries[0].Kind, "key", keys[0], "error", causeOf(entries[0]))
	for _, at := range w.notifier.notify(ctx, entries, keys) {
		if err := w.ledger.NoteUntold(ctx, keys[at]); err != nil {
			return err
		}
		untoldEntries.Inc()
	}
	return nil
}

// Now is the present time as the ledger writes it.
func Now() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// Source is the workflow whose activity ctx is; empty outside of one.
func Source(ctx context.Context) string {
	if !activity.IsActivity(ctx) {
		return ""
	}
	return activity.GetInfo(ctx).WorkflowExecution.ID
}
