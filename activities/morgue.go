package activities

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"

	"millrace/internal/intake"
	"millrace/internal/ledger"
	"millrace/internal/outcome"
	"millrace/internal/queue"
	"millrace/internal/telemetry"
)

const (
	// entriesAtOnce bounds the ledger entries that one burial, or a look at many, has in flight.
	entriesAtOnce = 8
	// entryBytes bounds the records of an entry that no bulk has bounded.
	entryBytes = 8 << 20
)

// undertaker keeps entries for good, and notes of which of them the dead-letter
// queue does not know. See ledger.Ledger.
type undertaker interface {
	Add(ctx context.Context, e ledger.Entry) (key string, err error)
	NoteUntold(ctx context.Context, key string) error
}

// Morgue is the Burier, and intake's Graveyard, over the ledger and the
// dead-letter queue.
type Morgue struct {
	ledger undertaker
	herald herald
}

// NewMorgue returns a Morgue.
func NewMorgue(l *ledger.Ledger, dlq *queue.DeadLetters) *Morgue {
	return &Morgue{ledger: l, herald: herald{dlq: dlq, within: tellWithin}}
}

// Bury implements Burier.
func (m *Morgue) Bury(ctx context.Context, dead []Dead) error {
	entries := make([]ledger.Entry, len(dead))
	for i, run := range dead {
		entries[i] = entryOf(run)
	}
	return m.bury(ctx, entries)
}

// entryOf is the entry of a run of neighbours, or of records between which there
// are others.
func entryOf(run Dead) ledger.Entry {
	e := ledger.Entry{Kind: ledger.Bulk, Range: run.Range, Sparse: run.Sparse}
	if run.Parked != "" {
		e.Kind, e.Index = ledger.Parked, run.Parked
	}
	for n, r := range run.Records {
		record := ledger.NewRecord(r.Data, run.Causes[n])
		record.Sequence, record.Arrived = r.Sequence, r.Arrived
		e.Records = append(e.Records, record)
	}
	return e
}

// BuryRange implements Burier.
func (m *Morgue) BuryRange(ctx context.Context, r telemetry.Range, cause outcome.Error) error {
	why := cause
	return m.bury(ctx, []ledger.Entry{{Kind: ledger.Loss, Range: r, Cause: &why}})
}

// BuryIngest implements intake.Graveyard. The same records have the same
// entries; a later attempt that finds more of a batch makes others.
func (m *Morgue) BuryIngest(ctx context.Context, batch string, dead []intake.Dead) error {
	var entries []ledger.Entry
	size := 0
	for _, d := range dead {
		if size += len(d.Data); len(entries) == 0 || size > entryBytes {
			entries, size = append(entries, ledger.Entry{Kind: ledger.Ingest, Batch: batch, Position: d.Position}), len(d.Data)
		}
		e := &entries[len(entries)-1]
		e.Records = append(e.Records, ledger.NewRecord(d.Data, outcome.Error{Type: d.Code, Reason: d.Reason}))
	}
	return m.bury(ctx, entries)
}

// bury writes all entries, and then sends letters about them. Once the entries
// are written they are the truth, so no refusal or outage of the dead-letter
// queue is an error.
func (m *Morgue) bury(ctx context.Context, entries []ledger.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	keys := make([]string, len(entries))
	writing, all := errgroup.WithContext(ctx)
	writing.SetLimit(entriesAtOnce)
	for i := range entries {
		entries[i].At, entries[i].Source = now, source(ctx)
		writing.Go(func() error {
			var err error
			keys[i], err = m.ledger.Add(all, entries[i])
			return err
		})
	}
	if err := writing.Wait(); err != nil {
		return fmt.Errorf("write to the ledger: %w", err)
	}
	slog.WarnContext(ctx, "buried records that will not be indexed", "entries", len(entries),
		"kind", entries[0].Kind, "key", keys[0], "error", causeOf(entries[0]))
	for _, at := range m.herald.tell(ctx, entries, keys) {
		if err := m.ledger.NoteUntold(ctx, keys[at]); err != nil {
			return err
		}
		untoldEntries.Inc()
	}
	return nil
}

// source is the workflow that buries.
func source(ctx context.Context) string {
	if !activity.IsActivity(ctx) {
		return ""
	}
	return activity.GetInfo(ctx).WorkflowExecution.ID
}
