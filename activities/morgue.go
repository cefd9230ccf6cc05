package activities

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"

	"millrace/internal/index"
	"millrace/internal/intake"
	"millrace/internal/ledger"
	"millrace/internal/queue"
	"millrace/internal/telemetry"
)

const (
	// entriesAtOnce bounds the ledger entries that one burial, or a look at many, has in flight.
	entriesAtOnce = 8
	// entryBytes bounds the records of an entry that no bulk has bounded.
	entryBytes = 8 << 20
)

// undertaker keeps entries for good. See ledger.Ledger.
type undertaker interface {
	Add(ctx context.Context, e ledger.Entry) (key string, err error)
}

// crier tells of dead records. See queue.DeadLetters.
type crier interface {
	Fits(l queue.DeadLetter) bool
	Send(ctx context.Context, letters []queue.DeadLetter) error
}

// Morgue is the Burier, and intake's Graveyard, over the ledger and the
// dead-letter queue.
type Morgue struct {
	ledger undertaker
	dlq    crier
}

// NewMorgue returns a Morgue.
func NewMorgue(l *ledger.Ledger, dlq *queue.DeadLetters) *Morgue {
	return &Morgue{ledger: l, dlq: dlq}
}

// Bury implements Burier.
func (m *Morgue) Bury(ctx context.Context, dead []Dead) error {
	entries := make([]ledger.Entry, len(dead))
	for i, run := range dead {
		entries[i] = entryOf(run)
	}
	return m.bury(ctx, entries)
}

// entryOf is the entry of a run of neighbours.
func entryOf(run Dead) ledger.Entry {
	e := ledger.Entry{Kind: ledger.Bulk, Range: run.Range}
	for n, r := range run.Records {
		record := ledger.NewRecord(r.Data, exact(run.Causes[n]))
		record.Sequence, record.Arrived = r.Sequence, r.Arrived
		e.Records = append(e.Records, record)
	}
	return e
}

// BuryRange implements Burier.
func (m *Morgue) BuryRange(ctx context.Context, r telemetry.Range, cause index.Error) error {
	why := exact(cause)
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
		e.Records = append(e.Records, ledger.NewRecord(d.Data, ledger.Error{Type: d.Code, Reason: d.Reason}))
	}
	return m.bury(ctx, entries)
}

// bury writes all entries, and then tells of them.
func (m *Morgue) bury(ctx context.Context, entries []ledger.Entry) error {
	now := time.Now().UTC().Truncate(time.Millisecond)
	told := make([][]queue.DeadLetter, len(entries))
	writing, all := errgroup.WithContext(ctx)
	writing.SetLimit(entriesAtOnce)
	for i := range entries {
		entries[i].At, entries[i].Source = now, source(ctx)
		writing.Go(func() error {
			key, err := m.ledger.Add(all, entries[i])
			told[i] = m.letters(entries[i], key)
			return err
		})
	}
	if err := writing.Wait(); err != nil {
		return fmt.Errorf("write to the ledger: %w", err)
	}
	letters := slices.Concat(told...)
	if len(letters) == 0 {
		return nil
	}
	if err := m.dlq.Send(ctx, letters); err != nil {
		return fmt.Errorf("tell of ledger entries: %w", err)
	}
	slog.WarnContext(ctx, "buried records that will not be indexed", "entries", len(entries),
		"kind", entries[0].Kind, "key", letters[0].Millrace.Ledger, "error", letters[0].ResponseContext.FunctionError)
	return nil
}

// source is the workflow that buries.
func source(ctx context.Context) string {
	if !activity.IsActivity(ctx) {
		return ""
	}
	return activity.GetInfo(ctx).WorkflowExecution.ID
}

// exact is an error as the ledger keeps it.
func exact(e index.Error) ledger.Error {
	kept := ledger.Error{Type: e.Type, Reason: e.Reason, Status: e.Status}
	if e.Cause != nil {
		cause := exact(*e.Cause)
		kept.Cause = &cause
	}
	return kept
}

// letters tell of an entry: of its halves, and theirs, where there are more
// errors than fit into a message. Each points at the range of its own records.
func (m *Morgue) letters(e ledger.Entry, key string) []queue.DeadLetter {
	l, half := letter(e, key), len(e.Records)/2
	if half == 0 || m.dlq.Fits(l) {
		return []queue.DeadLetter{l}
	}
	first, second := e, e
	first.Records, second.Records = e.Records[:half], e.Records[half:]
	first.Range.Last, first.Range.LastSub, first.Range.Count = e.Records[half-1].Sequence, 0, half
	second.Range.First, second.Range.FirstSub, second.Range.Count = e.Records[half].Sequence, 0, len(second.Records)
	return append(m.letters(first, key), m.letters(second, key)...)
}

// letter tells of an entry, or a part of it. It has no bodies.
func letter(e ledger.Entry, key string) queue.DeadLetter {
	l := queue.DeadLetter{
		RequestContext: queue.RequestContext{
			RequestID:   uuid.NewSHA1(uuid.NameSpaceURL, []byte(key)).String(),
			FunctionARN: "millrace", Condition: queue.RetriesExhausted, ApproximateInvokeCount: 1,
		},
		ResponseContext: queue.ResponseContext{StatusCode: 200, ExecutedVersion: "$LATEST"},
		Version:         "1.0",
		Timestamp:       queue.Time{Time: e.At},
		Millrace:        &queue.DeadRecords{Ledger: key, Records: []queue.DeadRecord{}},
	}
	for _, r := range e.Records {
		shown := withoutBody(index.Error{Type: r.Error.Type, Reason: r.Error.Reason})
		l.Millrace.Records = append(l.Millrace.Records, queue.DeadRecord{
			ID: r.ID, Type: r.Type, Tenant: r.Tenant, Error: queue.Reason{Type: shown.Type, Reason: shown.Reason},
		})
	}
	switch {
	case e.Cause != nil:
		l.ResponseContext.FunctionError = e.Cause.Type
	case len(e.Records) > 0:
		l.ResponseContext.FunctionError = e.Records[0].Error.Type
	}
	if e.Kind == ledger.Loss {
		l.RequestContext.Condition = queue.RecordTooOld
	}
	if e.Kind != ledger.Ingest {
		l.Batch = batchInfo(e)
	}
	return l
}

// batchInfo points at the records of an entry.
func batchInfo(e ledger.Entry) *queue.KinesisBatchInfo {
	info := &queue.KinesisBatchInfo{
		ShardID: e.Range.Shard, First: e.Range.First, Last: e.Range.Last, Size: e.Range.Count, StreamARN: e.Range.StreamARN,
	}
	if n := len(e.Records); n > 0 {
		info.FirstArrival, info.LastArrival = queue.Time{Time: e.Records[0].Arrived}, queue.Time{Time: e.Records[n-1].Arrived}
	}
	return info
}
