package snapshots

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"millrace/internal/index"
	"millrace/internal/outcome"
	"millrace/internal/sink"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

const (
	// recordAgain is after how long an index that is written to is looked up again:
	// it may have been deleted, and made anew. recordRetry is after how long that is
	// tried again, if it could not be noted, and recordWithin how long it may take.
	recordAgain, recordRetry, recordWithin = 10 * time.Minute, time.Minute, 5 * time.Second
	// recordedAtOnce bounds the indices that one request names.
	recordedAtOnce = 50
)

// IndexLister describes indices. See index.Client.
type IndexLister interface {
	Indices(ctx context.Context, patterns ...string) (map[string]index.State, error)
}

// WrittenIndices is a sink.Bulker that notes which indices it has written to, for the next
// snapshot: see snapshot.Judge. Indexing does not wait for that.
type WrittenIndices struct {
	Bulk    sink.Bulker
	Cluster IndexLister
	Store   snapshot.Store

	mu  sync.Mutex
	due map[string]time.Time // when to look again, by index
}

// Do implements sink.Bulker.
func (n *WrittenIndices) Do(ctx context.Context, b *sink.Bulk) sink.Result {
	result := n.Bulk.Do(ctx, b)
	if result.Class != outcome.Indexed {
		return result
	}
	if due := n.pickDue(b.Indices()); len(due) > 0 {
		go n.recordAll(context.WithoutCancel(ctx), due)
	}
	return result
}

func (n *WrittenIndices) recordAll(ctx context.Context, due []string) {
	for names := range slices.Chunk(due, recordedAtOnce) {
		if err := n.record(ctx, names); err != nil {
			slog.WarnContext(ctx, "could not note which indices were written to, trying again later", "indices", names, "error", err)
			n.wait(names, recordRetry)
		}
	}
}

// pickDue returns those of some indices that are due, for the caller to note.
func (n *WrittenIndices) pickDue(names []string) (due []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	for _, name := range names {
		if !n.due[name].After(now) && !telemetry.IsCanary(name) { // no snapshot has the canary's
			due = append(due, name)
		}
	}
	if len(due) == 0 {
		return nil
	}
	later := map[string]time.Time{} // without those that are not written to any more
	for name, at := range n.due {
		if at.After(now) {
			later[name] = at
		}
	}
	for _, name := range due {
		later[name] = now.Add(recordAgain)
	}
	n.due = later
	return due
}

func (n *WrittenIndices) wait(names []string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, name := range names {
		n.due[name] = time.Now().Add(d)
	}
}

func (n *WrittenIndices) record(ctx context.Context, names []string) error {
	ctx, cancel := context.WithTimeout(ctx, recordWithin)
	defer cancel()
	states, err := n.Cluster.Indices(ctx, names...)
	for name, state := range states {
		err = errors.Join(err, snapshot.Note(ctx, n.Store, snapshot.Noted{Index: name, Created: state.Created}))
	}
	return err
}
