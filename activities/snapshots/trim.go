package snapshots

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"millrace/internal/backoff"
	"millrace/internal/backup"
	"millrace/internal/index"
	"millrace/internal/longcall"
	"millrace/internal/snapshot"
	"millrace/internal/telemetry"
)

// TrimCall says which documents are to go, and for how long to delete them.
type TrimCall struct {
	RetentionCall
	For time.Duration `json:"for"`
}

// Trim is what was deleted of an index that stays.
type Trim struct {
	Index     string `json:"index"`
	Documents int64  `json:"documents"`      // or would have been, in a dry run
	Left      int64  `json:"left,omitempty"` // past their retention, for the next run
}

// String says so in a line.
func (t Trim) String() string {
	text := fmt.Sprintf("%s: %d documents", t.Index, t.Documents)
	if t.Left > 0 {
		text += fmt.Sprintf(", %d are left for the next run", t.Left)
	}
	return text
}

// TrimmedDocuments is how many documents were deleted of indices that stay.
func (r Retirement) TrimmedDocuments() (documents int64) {
	for _, trim := range r.Trimmed {
		documents += trim.Documents
	}
	return documents
}

// And puts two results together.
func (r Retirement) And(o Retirement) Retirement {
	return Retirement{
		Deleted: slices.Concat(r.Deleted, o.Deleted), Documents: r.Documents + o.Documents, Trimmed: slices.Concat(r.Trimmed, o.Trimmed),
		Uncovered: slices.Concat(r.Uncovered, o.Uncovered), More: r.More + o.More,
	}
}

const (
	// trimPage is how many documents are deleted at once: some 100 ms of a small
	// node's time, so that live traffic waits for no more than that.
	trimPage = 1000
	// trimRest is how many times as long as it has worked a call rests behind
	// each page: deleting takes a fifth of one thread of the cluster at the most,
	// and less of one that is busy, since that takes longer for a page.
	trimRest = 4
)

// TrimIndices deletes what is past its retention of the indices that are not of
// one day, by the day on which it was received: page by page, slowly, and only
// when something else has it. What it deletes it writes down before, so that
// neither snapshots nor recoveries miss it. An index of a year that it leaves
// empty goes, once that year is past its retention too.
//
// A retry goes on with the counts of the attempt before, and finds what is left.
func (s *Snapshotter) TrimIndices(ctx context.Context, in TrimCall) (Retirement, error) {
	var before Retirement
	if longcall.Resume(ctx, &before) {
		before.Uncovered, before.More = nil, 0 // they are looked at again
	}
	counts := &longcall.Guarded[Retirement]{}
	counts.Set(before)
	defer longcall.Heartbeat(ctx, func() any { return counts.Get() })()
	r, err := s.beginRetiring(ctx, in.RetentionCall)
	if err != nil {
		return Retirement{}, err
	}
	t := trimming{retiring: r, until: time.Now().Add(in.For)}
	r.result = counts
	err = r.each(ctx, func(p telemetry.Period) bool { return p != telemetry.Daily }, t.index)
	countUncovered(partsOfIndices, r.stay)
	return counts.Get(), err
}

// trimming is one call of TrimIndices.
type trimming struct {
	*retiring
	until time.Time
}

// index deletes what is past its retention of one index, or all of it.
func (t *trimming) index(ctx context.Context, name string, parts telemetry.IndexParts) error {
	state, keep := t.states[name], t.in.Days[parts.Type]
	if state.Documents < 0 {
		t.uncovered(name, notCounted)
		return nil
	}
	before := oldest(keep, time.Now())
	old, err := t.Cluster.Received(ctx, name, before)
	if err != nil {
		return err
	}
	if old.Documents > 0 {
		covered, why, err := t.coveredPart(ctx, name, state, old)
		if err != nil {
			return err
		}
		if covered == "" {
			t.uncovered(name, fmt.Sprintf("%d documents: %s", old.Documents, why))
			return nil
		}
		if done, err := t.delete(ctx, name, before, old.Documents); err != nil || !done {
			return err
		}
	}
	lastDay := parts.Begin.AddDate(1, 0, -1)
	if parts.Period == telemetry.Yearly && old.Documents == state.Documents && expired(lastDay, keep, time.Now()) {
		return t.retire(ctx, name, index.State{}, "nothing: it is empty")
	}
	return nil
}

// coveredPart says what has the old documents of an index, or why nothing has.
// A snapshot has those that were in the index when it was begun.
func (t *trimming) coveredPart(ctx context.Context, name string, state index.State, old index.Receipts) (by, why string, err error) {
	kept, there := t.last.Indices[name]
	switch {
	case t.last.Name == "":
		why = "there is no good snapshot"
	case !there || !kept.Created.Equal(state.Created):
		why = "the index is not in the last good snapshot, " + t.last.Name
	case !old.Indexed.IsZero() && old.Indexed.Add(index.DefaultTimeout+backup.ClockSkew).Before(t.last.Started):
		return t.last.Name, "", nil
	default:
		why = fmt.Sprintf("the last good snapshot, %s, was begun before all of them were indexed for certain", t.last.Name)
	}
	return t.inBackup(ctx, name, old, why)
}

// delete deletes the documents of an index that were received before a time,
// until none is left, which it reports, or the call's time is over.
func (t *trimming) delete(ctx context.Context, name string, before time.Time, documents int64) (done bool, err error) {
	if t.in.DryRun {
		t.trimmed(name, documents, 0)
		return true, nil
	}
	written, err := snapshot.TrimmedIndex(ctx, t.Bucket, name)
	if err != nil {
		return false, err
	}
	for left := documents; ; {
		began := time.Now()
		if began.After(t.until) {
			t.trimmed(name, 0, left)
			return false, nil
		}
		found, deleted, err := t.deletePage(ctx, &written, before)
		if deleted > 0 {
			left = max(left-deleted, 0)
			t.trimmed(name, deleted, 0)
		}
		if err != nil {
			return false, err
		}
		if found == 0 {
			slog.Info("deleted documents that are past their retention", "index", name, "received_before", before)
			return true, nil
		}
		if !backoff.Sleep(ctx, trimRest*time.Since(began)) {
			return false, ctx.Err()
		}
	}
}

// deletePage deletes some documents. They are written down before, and taken
// back from there where they were not deleted.
func (t *trimming) deletePage(ctx context.Context, written *snapshot.Trimmed, before time.Time) (found int, deleted int64, err error) {
	page, err := t.Cluster.FindReceivedBefore(ctx, written.Index, before, trimPage)
	if err != nil || len(page) == 0 {
		return len(page), 0, err
	}
	if err := written.Add(ctx, t.Bucket, int64(len(page)), before); err != nil {
		return len(page), 0, err
	}
	done, err := t.Cluster.DeleteVersions(ctx, written.Index, page)
	documentsTrimmed.Add(float64(done))
	if stay := len(page) - done; stay > 0 && err == nil {
		err = written.Add(ctx, t.Bucket, -int64(stay), before)
	}
	return len(page), int64(done), err
}

// trimmed counts what was deleted of an index.
func (t *trimming) trimmed(name string, documents, left int64) {
	t.result.Change(func(result *Retirement) {
		of := slices.IndexFunc(result.Trimmed, func(one Trim) bool { return one.Index == name })
		if of < 0 && len(result.Trimmed) == mostRetired {
			result.More++
			return
		}
		list := slices.Clone(result.Trimmed) // the heartbeat may be reading it
		if of < 0 {
			list, of = append(list, Trim{Index: name}), len(list)
		}
		list[of].Documents, list[of].Left = list[of].Documents+documents, left
		result.Trimmed = list
	})
}
