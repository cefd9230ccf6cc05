package snapshots

import (
	"context"
	"time"

	"millrace/internal/index"
	"millrace/internal/snapshot"
)

// SentDocuments counts documents by when they were sent. See index.Client.
type SentDocuments interface {
	CountSent(ctx context.Context, asked []index.Sent) ([]int64, error)
	// LongestBulk is how long a bulk may be at work.
	LongestBulk() time.Duration
}

// countSettled counts in a record what is settled of its indices, and what is
// there still of that which was at the last good snapshot. Where that cannot be
// counted, the next snapshot is held against the same: or a loss would be
// forgotten unseen.
func countSettled(ctx context.Context, cluster SentDocuments, last snapshot.Record, record *snapshot.Record) error {
	by := snapshot.SettledBy(cluster.LongestBulk())
	var asked []index.Sent
	for _, name := range index.Names(record.Indices) {
		asked = append(asked, index.Sent{Index: name, Before: by})
		if before := last.Indices[name]; before.Settled != nil {
			asked = append(asked, index.Sent{Index: name, Before: before.Settled.Before})
		}
	}
	counts, err := cluster.CountSent(ctx, asked)
	if err != nil {
		return err
	}
	for i, one := range asked {
		of := record.Indices[one.Index]
		before := last.Indices[one.Index]
		known := counts[i] >= 0
		switch isStill := before.Settled != nil && i > 0 && asked[i-1].Index == one.Index; {
		case isStill && known:
			of.Still = &snapshot.Settled{Before: one.Before, Documents: counts[i]}
		case isStill && before.Created.Equal(of.Created):
			of.Settled = before.Settled
		case !isStill && known:
			of.Settled = &snapshot.Settled{Before: by, Documents: counts[i], Trimmed: of.Trimmed}
		}
		record.Indices[one.Index] = of
	}
	return nil
}
