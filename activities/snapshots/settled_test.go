package snapshots

import (
	"context"
	"slices"
	"testing"
	"time"

	"millrace/internal/index"
	"millrace/internal/snapshot"
)

// settledPast was settled long ago.
var settledPast = time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)

// uncounted is a cluster that cannot count what was sent, for a while.
type uncounted struct {
	SentDocuments
	known bool
}

func (u *uncounted) CountSent(_ context.Context, asked []index.Sent) ([]int64, error) {
	if u.known {
		return slices.Repeat([]int64{7}, len(asked)), nil
	}
	return slices.Repeat([]int64{-1}, len(asked)), nil
}

func (*uncounted) LongestBulk() time.Duration { return time.Minute }

// TestALossThatCannotBeCountedNowIsSeenLater: the next snapshot is held against
// what this one was to be held against.
func TestALossThatCannotBeCountedNowIsSeenLater(t *testing.T) {
	t.Parallel()
	made := settledPast
	settled := &snapshot.Settled{Before: settledPast, Documents: 8}
	last := snapshot.Record{Indices: map[string]snapshot.Index{"a": {Created: made, Settled: settled}}}
	cluster := &uncounted{}
	for _, c := range []struct {
		known   bool
		suspect bool
	}{{false, false}, {true, true}} {
		cluster.known = c.known
		next := snapshot.Record{Indices: map[string]snapshot.Index{"a": {Created: made}}}
		if err := countSettled(t.Context(), cluster, last, &next); err != nil {
			t.Fatal(err)
		}
		if got := snapshot.Judge(last, next.Indices, nil, nil); (got != "") != c.suspect {
			t.Errorf("counted %v, it says %q of %+v", c.known, got, next.Indices["a"])
		}
		last = next
	}
}
